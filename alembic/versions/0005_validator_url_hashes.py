"""Record the hash of the URL that sent the validators."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL in existing rows: a redirect may have led to their validators, so their images are fetched in full once.
    op.add_column("asset", sa.Column("final_url_hash", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("asset", "final_url_hash")

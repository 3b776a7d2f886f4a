"""Record the URL hash that validators came from."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL in the rows there are: whether a redirect led to them is not known, so their images are fetched whole once.
    op.add_column("asset", sa.Column("final_url_hash", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("asset", "final_url_hash")

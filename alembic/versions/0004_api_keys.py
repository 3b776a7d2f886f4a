"""Add API keys that can be rotated."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("former_hash", sa.String(length=128), nullable=True))
    op.add_column("api_key", sa.Column("former_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("api_key", "former_until")
    op.drop_column("api_key", "former_hash")

"""Add reuse of earlier results, and find deliveries by host."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REUSABLE = sa.text("reuse_hash IS NOT NULL")


def upgrade() -> None:
    op.add_column("batch", sa.Column("refresh", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("asset", sa.Column("reuse_hash", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_asset_reuse", "asset", ["reuse_hash", "batch_id"], sqlite_where=REUSABLE, postgresql_where=REUSABLE
    )

    op.add_column("delivery", sa.Column("host", sa.String(length=300), server_default=sa.text("''"), nullable=False))


def downgrade() -> None:
    op.drop_column("delivery", "host")
    op.drop_index("ix_asset_reuse", table_name="asset")
    op.drop_column("asset", "reuse_hash")
    op.drop_column("batch", "refresh")

"""Number the hosts of a batch, so that claims take turns between them; record a change of a batch in progress."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CHANGING = "change IS NOT NULL"


def upgrade() -> None:
    op.add_column("asset", sa.Column("host_number", sa.Integer(), server_default="0", nullable=False))
    op.add_column("batch", sa.Column("change", sa.Text(), nullable=True))
    op.add_column("batch", sa.Column("round_started_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_batch_changing", "batch", ["id"], sqlite_where=sa.text(CHANGING), postgresql_where=sa.text(CHANGING)
    )


def downgrade() -> None:
    op.drop_index("ix_batch_changing", table_name="batch")
    op.drop_column("batch", "round_started_at")
    op.drop_column("batch", "change")
    op.drop_column("asset", "host_number")

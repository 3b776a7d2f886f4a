"""Count failures of storage and quarantine separately from those of the origin."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("asset", sa.Column("suspicion", sa.String(length=16), nullable=True))
    for name in ("storage_failures", "quarantine_failures"):
        op.add_column("asset", sa.Column(name, sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    for name in ("quarantine_failures", "storage_failures", "suspicion"):
        op.drop_column("asset", name)

"""Record the round in which an image of a batch exceeded its CPU time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batch", sa.Column("overran_round", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("batch", "overran_round")

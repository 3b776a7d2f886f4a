"""Store facts about the uploaded file, the image columns of each product's URLs, and the text of unusual rows."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batch", sa.Column("file_format", sa.JSON(), nullable=True))
    op.add_column("product", sa.Column("slot_counts", sa.JSON(), nullable=True))
    op.add_column("product", sa.Column("source", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("product", "source")
    op.drop_column("product", "slot_counts")
    op.drop_column("batch", "file_format")

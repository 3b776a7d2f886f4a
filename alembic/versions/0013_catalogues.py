"""Name the catalogue that a batch is a version of, and record what changed since the version before."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

VERSIONS = "catalogue IS NOT NULL"


def upgrade() -> None:
    op.add_column("batch", sa.Column("catalogue", sa.String(length=255), nullable=True))
    op.add_column("batch", sa.Column("source", sa.JSON(), nullable=True))
    op.add_column("batch", sa.Column("changes", sa.JSON(), nullable=True))
    condition = sa.text(VERSIONS)
    op.create_index(
        "ix_batch_catalogue",
        "batch",
        ["api_key_id", "catalogue", "id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
    op.add_column("product", sa.Column("change", sa.String(length=8), nullable=True))
    op.create_table(
        "gone_product",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_gone_product_batch_id_batch")),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_gone_product")),
    )


def downgrade() -> None:
    op.drop_table("gone_product")
    op.drop_column("product", "change")
    op.drop_index("ix_batch_catalogue", table_name="batch")
    op.drop_column("batch", "changes")
    op.drop_column("batch", "source")
    op.drop_column("batch", "catalogue")

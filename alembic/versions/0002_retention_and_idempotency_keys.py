"""Add retention and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UNTIDY = sa.text("tidy_at IS NOT NULL")
EXPIRING = sa.text("expires_at IS NOT NULL AND finished_at IS NOT NULL AND deleted_at IS NULL")


def upgrade() -> None:
    op.add_column("batch", sa.Column("tidy_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_batch_untidy", "batch", ["tidy_at"], sqlite_where=UNTIDY, postgresql_where=UNTIDY)
    op.create_index("ix_batch_expiring", "batch", ["expires_at"], sqlite_where=EXPIRING, postgresql_where=EXPIRING)
    op.add_column("delivery", sa.Column("schedule_from", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "idempotency_key",
        sa.Column("api_key_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_key.id"], name=op.f("fk_idempotency_key_api_key_id_api_key")),
        sa.PrimaryKeyConstraint("api_key_id", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_batch_id"), "idempotency_key", ["batch_id"])
    op.create_index(op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"])
    # Batches that ended before clean-ups existed are cleaned up at the next sweep.
    op.execute("UPDATE batch SET tidy_at = finished_at WHERE finished_at IS NOT NULL")


def downgrade() -> None:
    op.drop_index(op.f("ix_idempotency_key_created_at"), table_name="idempotency_key")
    op.drop_index(op.f("ix_idempotency_key_batch_id"), table_name="idempotency_key")
    op.drop_table("idempotency_key")
    op.drop_column("delivery", "schedule_from")
    op.drop_index("ix_batch_expiring", table_name="batch")
    op.drop_index("ix_batch_untidy", table_name="batch")
    op.drop_column("batch", "tidy_at")

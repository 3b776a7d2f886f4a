"""Record which stored files each batch names, and a folder of images for each API key."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Batches of earlier versions keep their images in a folder of their own, which these tables do not list.


def upgrade() -> None:
    op.create_table(
        "stored_file",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hash", "batch_id", name=op.f("pk_stored_file")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "file_removal",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.String(length=40), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_file_removal")),
    )
    op.create_index(op.f("ix_file_removal_began_at"), "file_removal", ["began_at"])
    op.add_column("api_key", sa.Column("media_folder", sa.String(length=24), nullable=True))
    op.add_column("api_key", sa.Column("removals", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("batch", sa.Column("names", sa.Text(), nullable=True))
    if op.get_bind().dialect.name != "sqlite":  # SQLite ignores the length
        op.alter_column("asset", "slug", type_=sa.String(length=80))
    api_key = sa.table("api_key", sa.column("id"), sa.column("media_folder"))
    for (key_id,) in op.get_bind().execute(sa.select(api_key.c.id)).all():
        folder = secrets.token_hex(12)
        op.get_bind().execute(sa.update(api_key).where(api_key.c.id == key_id).values(media_folder=folder))


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("asset", "slug", type_=sa.String(length=40), postgresql_using="left(slug, 40)")
    op.drop_column("batch", "names")
    op.drop_column("api_key", "removals")
    op.drop_column("api_key", "media_folder")
    op.drop_table("file_removal")
    op.drop_table("stored_file")

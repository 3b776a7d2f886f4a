"""Find earlier results in a narrow table; keep free space in the pages of assets."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# ix_asset_reuse and asset.reuse_hash remain: workers of the previous release find and write earlier results by them.

_RESULTS = """
    FROM asset JOIN batch ON batch.id = asset.batch_id
    WHERE asset.reuse_hash IS NOT NULL AND asset.final_url_hash IS NOT NULL AND batch.deleted_at IS NULL
"""
_NEWEST_ON_POSTGRES = f"""
    INSERT INTO reusable (hash, batch_id, position)
    SELECT DISTINCT ON (reuse_hash) substr(decode(reuse_hash, 'hex'), 1, 16), batch_id, position {_RESULTS}
    ORDER BY reuse_hash, batch_id DESC
"""
_SQLITE = "INSERT OR REPLACE INTO reusable (hash, batch_id, position) VALUES (:hash, :batch_id, :position)"
_SLICE = 10_000


def upgrade() -> None:
    op.create_table(
        "reusable",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_reusable")),
        postgresql_with={"fillfactor": 80},
    )
    if op.get_bind().dialect.name != "sqlite":
        op.execute(_NEWEST_ON_POSTGRES)
        # Without free space, an updated row moves to whichever page of the table has some, and each of these is logged
        # whole. This lock stops neither reads nor writes; pages that exist stay as they are.
        op.execute("ALTER TABLE asset SET (fillfactor = 90)")
        return
    connection = op.get_bind()
    for rows in _slices(connection):
        connection.execute(sa.text(_SQLITE), rows)


def _slices(connection: sa.Connection) -> Iterator[list[dict[str, object]]]:
    """Yield the results, oldest first, as rows of the new table."""
    found = connection.execute(sa.text(f"SELECT reuse_hash, batch_id, position {_RESULTS} ORDER BY batch_id"))
    for rows in found.partitions(_SLICE):
        yield [
            {"hash": bytes.fromhex(reuse_hash)[:16], "batch_id": batch_id, "position": position}
            for reuse_hash, batch_id, position in rows
        ]


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.execute("ALTER TABLE asset RESET (fillfactor)")
    op.drop_table("reusable")

"""Replace the index of open assets by one that is ordered by host first.

Workers of the version before claim without an index of their order from then on: more slowly, but the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OPEN_ASSETS = "status IN ('pending', 'processing')"
NEW, OLD = "ix_asset_open_by_host", "ix_asset_open"
COLUMNS = ("batch_id", "host_number", "due_at", "position")

# Takes minutes on a large table, and lets others write meanwhile. An attempt that failed leaves an invalid index.
BEFORE_ON_POSTGRES = (
    f"DROP INDEX CONCURRENTLY IF EXISTS {NEW}",
    f"CREATE INDEX CONCURRENTLY {NEW} ON asset ({', '.join(COLUMNS)}) WHERE {OPEN_ASSETS}",
)


def upgrade() -> None:
    condition = sa.text(OPEN_ASSETS)
    op.create_index(NEW, "asset", COLUMNS, sqlite_where=condition, postgresql_where=condition, if_not_exists=True)
    op.drop_index(OLD, table_name="asset")


def downgrade() -> None:
    condition = sa.text(OPEN_ASSETS)
    op.create_index(
        OLD, "asset", ["batch_id", "due_at", "position"], sqlite_where=condition, postgresql_where=condition
    )
    op.drop_index(NEW, table_name="asset")

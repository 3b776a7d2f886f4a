"""The dialect of a connection: SQLite and Postgres need other statements for the same thing here and there."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

_PLANS_ON_INDEXES = sa.text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
    "set_config('enable_mergejoin', 'off', true), set_config('enable_sort', 'off', true)"
)


def is_postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def insert_or_ignore(connection: AsyncConnection, table: Any) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT into `table` that leaves rows with the same primary key as they are."""
    if is_postgres(connection):
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


async def plan_on_indexes(session: AsyncSession) -> None:
    """Make Postgres plan the statements of this transaction on indexes only.

    It keeps the plan of a frequent statement. One that was made while a table was empty reads the whole table, and
    would do so for millions of rows until autovacuum comes: flushes were ten times as slow for a minute. One that was
    made while batches were small reads a whole batch and sorts it; without sorting, only the index in the right order
    is left.
    """
    connection = await session.connection()
    if is_postgres(connection):
        await connection.execute(_PLANS_ON_INDEXES)

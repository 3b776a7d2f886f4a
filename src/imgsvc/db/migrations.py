"""Upgrades a database to the newest schema, and checks whether it needs an upgrade."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import stamina
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from imgsvc.db.engine import Sessions
from imgsvc.errors import DatabaseUnavailable, StartupError

UPGRADE_LOCK = 0x696D67737663
"""The advisory lock of an upgrade on Postgres: "imgsvc" in ASCII, a number that no other program is likely to use."""
LOCK_TIMEOUT = 3.0
"""Seconds that a statement of a migration waits for a table. All who need the table meanwhile wait behind it."""
UPGRADE_TIMEOUT = 300.0
"""Seconds after which an upgrade gives up on a table or on another upgrade."""


def _folder() -> Path:
    """Return the migrations' folder: inside an installed package, or at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return alembic's configuration for this project's migrations, on `connection` if given."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


class TableLocked(DatabaseUnavailable):
    """Another transaction held a lock for longer than a migration waits."""


async def upgrade(
    sessions: Sessions, *, give_up_after: float = UPGRADE_TIMEOUT, lock_timeout: float = LOCK_TIMEOUT
) -> None:
    """Run the missing migrations, each in a transaction of its own. Idempotent; concurrent upgrades take turns.

    A migration that does not get a lock within `lock_timeout` seconds is undone and repeated after a pause, in which
    the service works, until `give_up_after` seconds have passed.

    Raises:
        StartupError: a newer imgsvc created the schema.
        TableLocked: another transaction, or another upgrade, held a lock all the time.
        DatabaseUnavailable: the database is unavailable, or locked for longer than a writer waits.
    """
    async with turn(sessions, give_up_after):
        while revision := await _next_revision(sessions):
            pauses = {"wait_initial": lock_timeout / 3, "wait_max": lock_timeout * 3}
            async for attempt in stamina.retry_context(on=TableLocked, attempts=None, timeout=give_up_after, **pauses):
                with attempt:
                    await _migrate(sessions, revision, lock_timeout)


@asynccontextmanager
async def turn(sessions: Sessions, give_up_after: float) -> AsyncIterator[None]:
    """Hold the lock of upgrades on Postgres. On SQLite each migration is alone, as a writer begins IMMEDIATE.

    The lock belongs to a transaction, which PgBouncer keeps on one connection. Those who wait ask again and again: a
    statement that waits in the database would be waited for by an index that is created concurrently.
    """
    if sessions.engine.dialect.name != "postgresql":
        yield
        return
    give_up_at = monotonic() + give_up_after
    while True:
        async with sessions.write() as session:
            connection = await session.connection()
            if (await connection.execute(select(func.pg_try_advisory_xact_lock(UPGRADE_LOCK)))).scalar():
                # Last: the SELECT's snapshot ends with the next statement, and a concurrent index waits for snapshots.
                await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                yield
                return
        if monotonic() >= give_up_at:
            raise TableLocked(f"Another upgrade has been running for {give_up_after:g} seconds.")
        await asyncio.sleep(min(0.5, give_up_after / 10))


async def _next_revision(sessions: Sessions) -> Script | None:
    """Return the first missing migration."""
    revision = await _revision(sessions)
    if revision is not None and revision not in _revisions():
        raise StartupError(f"The database was made by a newer imgsvc (schema {revision}): update this one.")
    newer = _revisions()[: _revisions().index(revision)] if revision else _revisions()
    return ScriptDirectory.from_config(alembic_config()).get_revision(newer[-1]) if newer else None


async def _revision(sessions: Sessions) -> str | None:
    async with sessions.read() as session:
        connection = await session.connection()
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def _migrate(sessions: Sessions, revision: Script, lock_timeout: float) -> None:
    """Run one migration, unless another upgrade of the same SQLite file has just run it."""
    on_postgres = sessions.engine.dialect.name == "postgresql"
    try:
        if on_postgres:
            await run_outside_transaction(sessions, getattr(revision.module, "BEFORE_ON_POSTGRES", ()))
        async with sessions.write() as session:
            connection = await session.connection()
            if on_postgres:
                await connection.execute(text(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}"))
            await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), revision.revision))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        statement = " ".join((error.statement or "").split())[:100]
        raise TableLocked(
            f"Another transaction keeps a table locked that migration {revision.revision} changes ({statement}). "
            "End it (see pg_stat_activity), then run `imgsvc db upgrade` again."
        ) from error


async def run_outside_transaction(sessions: Sessions, statements: Sequence[str]) -> None:
    """Run statements that Postgres refuses inside a transaction, such as CREATE INDEX CONCURRENTLY, one by one.

    They are sent as simple queries, which PgBouncer runs on one connection each.
    """
    async with sessions.engine.connect() as connection:
        driver_connection: Any = (await connection.get_raw_connection()).driver_connection
        for statement in statements:
            await driver_connection.execute(statement)


@cache
def _revisions() -> tuple[str, ...]:
    """Return the revisions that this code has migrations to, newest first; reading their files takes 17 ms."""
    return tuple(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


class SchemaBehind(DatabaseUnavailable):
    """The database is reachable, but its schema is older than this code requires."""


async def check(sessions: Sessions) -> None:
    """Check that the database has this code's schema or a newer one; every migration keeps the previous code working.

    Raises:
        SchemaBehind: migrations are missing.
        DatabaseUnavailable: the database is unavailable.
    """
    _, *older = _revisions()
    revision = await _revision(sessions)
    if revision is None:
        raise SchemaBehind("The database is empty: run `imgsvc db upgrade` (`imgsvc up` does so automatically).")
    if revision in older:
        raise SchemaBehind(
            "The database has an older schema: run `imgsvc db upgrade` (`imgsvc up` does so automatically)."
        )

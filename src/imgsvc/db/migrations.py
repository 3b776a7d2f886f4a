"""Bring a database to the newest schema, or say how far behind it is."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from imgsvc.db.engine import Sessions
from imgsvc.errors import DatabaseUnavailable, StartupError

UPGRADING = 0x696D67737663
"""The advisory lock of an upgrade on Postgres: "imgsvc" in ASCII, so that no other program takes it by chance."""


def _folder() -> Path:
    """The migrations: beside the code in an installed package, at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


async def upgrade(sessions: Sessions) -> None:
    """Run the missing migrations; repeating it does nothing, and one that starts beside another waits for it.

    Raises:
        StartupError: a newer imgsvc made the schema.
        DatabaseUnavailable: the database is away, or locked for longer than a writer waits.
    """
    async with sessions.write() as session:
        connection = await session.connection()
        await connection.run_sync(_upgrade_alone)


def _upgrade_alone(connection: Connection) -> None:
    """Two that read the old revision would both make the tables: the second reads it when the first has committed."""
    if connection.dialect.name == "postgresql":  # on SQLite a writer began IMMEDIATE and is alone already
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADING)))
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in _known():
        raise StartupError(f"The database was made by a newer imgsvc (its schema is {revision}): update this one.")
    command.upgrade(_config(connection), "head")


@cache
def _known() -> tuple[str, ...]:
    """The revisions that this code has migrations to, the newest first; reading them from their files takes 17 ms."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


class SchemaBehind(DatabaseUnavailable):
    """The database answers, but has not the tables that this code was written for."""


async def check(sessions: Sessions) -> None:
    """Return when the database has this code's schema, or a newer one: each migration keeps the code before it working.

    Raises:
        SchemaBehind: migrations are missing.
        DatabaseUnavailable: the database is away.
    """
    _, *older = _known()
    async with sessions.read() as session:
        connection = await session.connection()
        revision = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    if revision is None:
        raise SchemaBehind("The database is empty: run `imgsvc db upgrade` (`imgsvc up` does so by itself).")
    if revision in older:
        raise SchemaBehind("The database has an older schema: run `imgsvc db upgrade` (`imgsvc up` does so by itself).")

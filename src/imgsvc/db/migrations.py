"""Upgrades a database to the newest schema, and checks whether it needs an upgrade."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from imgsvc.db.engine import Sessions
from imgsvc.errors import DatabaseUnavailable, StartupError

UPGRADE_LOCK = 0x696D67737663
"""The advisory lock of an upgrade on Postgres: "imgsvc" in ASCII, a number that no other program is likely to use."""


def _folder() -> Path:
    """Return the migrations' folder: inside an installed package, or at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return alembic's configuration for this project's migrations, on `connection` if given."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


async def upgrade(sessions: Sessions) -> None:
    """Run the missing migrations. Idempotent; concurrent upgrades wait for each other.

    Raises:
        StartupError: a newer imgsvc created the schema.
        DatabaseUnavailable: the database is unavailable, or locked for longer than a writer waits.
    """
    async with sessions.write() as session:
        connection = await session.connection()
        await connection.run_sync(_upgrade_alone)


def _upgrade_alone(connection: Connection) -> None:
    """Upgrade under a lock, so that a concurrent upgrade reads the revision only after this one has committed.

    Otherwise both would read the old revision and create the same tables.
    """
    if connection.dialect.name == "postgresql":  # on SQLite a writer began IMMEDIATE and is alone already
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in _revisions():
        raise StartupError(f"The database was made by a newer imgsvc (schema {revision}): update this one.")
    command.upgrade(alembic_config(connection), "head")


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
    async with sessions.read() as session:
        connection = await session.connection()
        revision = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    if revision is None:
        raise SchemaBehind("The database is empty: run `imgsvc db upgrade` (`imgsvc up` does so automatically).")
    if revision in older:
        raise SchemaBehind(
            "The database has an older schema: run `imgsvc db upgrade` (`imgsvc up` does so automatically)."
        )

"""Bring a database to the newest schema, or say how far behind it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from imgsvc.db.engine import Sessions
from imgsvc.errors import DatabaseUnavailable


def _folder() -> Path:
    """The migrations: beside the code in an installed package, at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


async def upgrade(sessions: Sessions) -> None:
    """Run the missing migrations; repeating it does nothing."""
    async with sessions.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(_config(sync), "head"))


async def check(sessions: Sessions) -> None:
    """Raises DatabaseUnavailable when the database is away, or has not the schema that this code was written for."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    async with sessions.read() as session:
        connection = await session.connection()
        revision = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    if revision != newest:
        raise DatabaseUnavailable("The database has not the newest schema: run `imgsvc db upgrade`.")

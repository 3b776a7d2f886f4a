"""Alembic's environment: run the migrations on a given connection, or on the database of the settings."""

import asyncio
from typing import Literal

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from imgsvc.db import tables  # noqa: F401  # fills the metadata
from imgsvc.db.engine import open_sessions
from imgsvc.db.types import NullableJson, UtcDateTime
from imgsvc.settings.server import Settings


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Render imgsvc's column types as the types they are stored as, so that migrations import nothing of imgsvc."""
    if kind != "type":
        return False
    if isinstance(item, AutoString):
        return f"sa.String(length={item.length})"
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return "sa.JSON()" if isinstance(item, NullableJson) else False


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=render_item,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_settings_database() -> None:
    sessions = open_sessions(Settings().database, statement_timeout=None)
    async with sessions.engine.begin() as connection:
        await connection.run_sync(migrate)
    await sessions.aclose()


connection = context.config.attributes.get("connection")
if connection is None:
    asyncio.run(migrate_settings_database())
else:
    migrate(connection)

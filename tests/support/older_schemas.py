"""Databases of earlier versions: their schema, filled with the columns that those versions had."""

from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlmodel import SQLModel, col, select

from imgsvc.bootstrap import Resources
from imgsvc.db import migrations
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Asset
from support.storage import media

REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()][
    ::-1
]


async def build_schema(sessions: Sessions, revision: str) -> MetaData:
    """Run the migrations up to `revision` on an empty database, and return its tables as that version knew them."""
    tables = MetaData()

    def build(connection: Connection) -> None:
        command.upgrade(migrations.alembic_config(connection), revision)
        tables.reflect(connection)

    async with sessions.engine.begin() as connection:
        await connection.run_sync(build)
    return tables


async def copy_rows(source: Sessions, target: Sessions, tables: MetaData) -> None:
    """Copy all rows of `source` into the older `tables` of `target`, without the columns that these do not have."""
    async with source.read() as reader, target.write() as writer:
        reading, writing = await reader.connection(), await writer.connection()
        await writing.execute(tables.tables["api_key"].delete())  # the source has one of the same id
        for table in SQLModel.metadata.sorted_tables:
            if table.name in tables.tables:
                for row in (await reading.execute(table.select())).mappings().all():
                    await writing.execute(insert(tables.tables[table.name], dict(row)))


async def move_to_batch_folders(source: Resources) -> None:
    """Rename all renditions as the versions before 0011 named them: each batch has a folder of its own."""
    async with source.sessions.write() as session:
        for asset in await session.exec(select(Asset).where(col(Asset.renditions).is_not(None))):
            renditions = []
            for entry in asset.renditions or []:
                suffix = "" if entry["name"] == "main" else f"-{entry['name']}"
                extension = entry["key"].rpartition(".")[2]
                key = f"{asset.batch_id}/{asset.position}-shoe{suffix}-0a1b2c3d.{extension}"
                (media(source) / key).parent.mkdir(exist_ok=True)
                (media(source) / entry["key"]).rename(media(source) / key)
                renditions.append({**entry, "key": key})
            asset.renditions = renditions
            session.add(asset)


def insert(table: sa.Table, row: dict[str, Any]) -> sa.Insert:
    """Return the INSERT of an earlier version, which names the columns of its `table` only; None is NULL."""
    return table.insert().values(
        {column.name: sa.null() if row[column.name] is None else row[column.name] for column in table.columns}
    )

"""The migrations: they make what the models say, go both ways, and say so when the schema is old."""

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel
from standardwebhooks import Webhook

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.keys import webhook_secret

REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrations._config()).walk_revisions()][::-1]


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Sessions]:
    """On a database that does not exist yet."""
    sessions = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/new.db")
    yield sessions
    await sessions.aclose()


async def go(sessions: Sessions, step: Any, revision: str) -> None:
    async with sessions.engine.begin() as connection:
        await connection.run_sync(lambda sync: step(migrations._config(sync), revision))


async def schema(sessions: Sessions) -> dict[str, str]:
    """The statements that make each table and index, in one spelling."""
    async with sessions.read() as session:
        connection = await session.connection()
        rows = await connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def constraints(statement: str) -> list[str]:
    return sorted(found.strip() for found in re.findall(r"CONSTRAINT .*?(?=, CONSTRAINT|\)$)", statement))


async def test_models_and_migrations_agree(new: Sessions) -> None:
    await migrations.upgrade(new)

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, SQLModel.metadata))

    async with new.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_checks_and_partial_indexes_are_those_of_the_models_too(new: Sessions, tmp_path: Path) -> None:
    """What alembic does not compare."""
    await migrations.upgrade(new)
    of_models = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/models.db")
    async with of_models.engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    made, wanted = await schema(new), await schema(of_models)
    await of_models.aclose()

    assert made.keys() == wanted.keys()
    for name, statement in wanted.items():
        assert constraints(made[name]) == constraints(statement), name
        if statement.startswith("CREATE INDEX"):
            assert made[name] == statement


async def test_every_migration_goes_up_down_and_up_again(new: Sessions) -> None:
    for revision in REVISIONS:
        before = await schema(new)
        await go(new, command.upgrade, revision)
        after = await schema(new)
        await go(new, command.downgrade, "-1")
        assert await schema(new) == before
        await go(new, command.upgrade, revision)
        assert await schema(new) == after
    await migrations.check(new)


async def test_upgrading_a_new_database_again_changes_nothing(new: Sessions) -> None:
    await migrations.upgrade(new)
    secret = await webhook_secret(sessions=new)
    await migrations.upgrade(new)
    assert await webhook_secret(sessions=new) == secret


async def test_an_empty_database_is_not_ready(new: Sessions) -> None:
    with pytest.raises(DatabaseUnavailable, match="imgsvc db upgrade"):
        await migrations.check(new)


async def test_an_old_schema_is_not_ready(new: Sessions) -> None:
    await migrations.upgrade(new)
    await migrations.check(new)
    await go(new, command.downgrade, "-1")
    with pytest.raises(DatabaseUnavailable, match="imgsvc db upgrade"):
        await migrations.check(new)


async def test_the_local_key_gets_a_random_secret_that_signs(new: Sessions, tmp_path: Path) -> None:
    await migrations.upgrade(new)
    secret = await webhook_secret(sessions=new)
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24
    assert Webhook(secret)

    other = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    await migrations.upgrade(other)
    assert await webhook_secret(sessions=other) != secret
    await other.aclose()

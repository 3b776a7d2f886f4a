"""The migrations: they make what the models say, go both ways, and say so when the schema is old."""

import asyncio
import base64
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlmodel import SQLModel
from sqlmodel import select as sqlmodel_select
from standardwebhooks import Webhook

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Asset
from imgsvc.errors import DatabaseUnavailable, StartupError
from imgsvc.services.access.api_keys import webhook_secret
from support.databases import Postgres
from support.stack import until

REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrations._config()).walk_revisions()][::-1]


A_BATCH = text(
    "INSERT INTO batch (id, api_key_id, status, round, version, specs, manifest_sha256, header, url_column, encoding,"
    " delimiter, warnings, warnings_total, metadata, product_count, url_count, asset_count, processing, succeeded,"
    " failed, cancelled, errors, input_bytes, output_bytes, created_at) VALUES ('bat_1', 'key_local', 'pending', 1, 1,"
    " '[]', '', '[]', 0, 'utf-8', ',', '[]', 0, '{}', 1, 1, 1, 0, 0, 0, 0, '{}', 0, 0, :now)"
)
AN_ASSET = text(
    "INSERT INTO asset (batch_id, position, origin_url, slug, status, due_at, attempts, lost, updated_at)"
    " VALUES ('bat_1', 0, 'http://shop.example/1.jpg', 'shoe', 'pending', :now, 2, 1, :now)"
)


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


async def upgraded_with_rows(sessions: Sessions) -> None:
    """From the schema before failures were counted by part, with a batch in it."""
    await migrations.upgrade(sessions)
    script = ScriptDirectory.from_config(migrations._config()).get_revision("0006")
    await go(sessions, command.downgrade, str(script.down_revision))
    now = datetime(2026, 11, 1, tzinfo=UTC)
    async with sessions.engine.begin() as connection:
        for statement in (A_BATCH, AN_ASSET):
            await connection.execute(statement, {"now": now.isoformat(" ") if sessions._file else now})
    await go(sessions, command.upgrade, "head")
    async with sessions.read() as session:
        [asset] = await session.exec(sqlmodel_select(Asset))
    assert (asset.attempts, asset.lost, asset.suspicion) == (2, 1, None)
    assert (asset.storage_failures, asset.quarantine_failures) == (0, 0)


async def test_assets_of_before_have_no_failures_of_storage_and_quarantine(new: Sessions) -> None:
    await upgraded_with_rows(new)


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


# -- several at one time, as when `imgsvc db upgrade` is started on two machines ---------------------------------------

UPGRADE_WHEN_TOLD = """
import asyncio, sys
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions

async def upgrade():
    sessions = open_sessions(sys.argv[1])
    await migrations.upgrade(sessions)
    await sessions.aclose()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(upgrade())
"""
AT_ONE_TIME = 4


async def upgrade_in_processes_at_one_time(url: str) -> list[tuple[int | None, str]]:
    """How each of several processes ended that upgrade the database at `url` from the same moment on."""
    processes = [
        await create_subprocess_exec(sys.executable, "-c", UPGRADE_WHEN_TOLD, url, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        for _ in range(AT_ONE_TIME)
    ]
    for process in processes:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
    said = await asyncio.wait_for(asyncio.gather(*(process.communicate(b"go\n") for process in processes)), 60)
    return [
        (process.returncode, errors.decode().strip()[-500:])
        for process, (_, errors) in zip(processes, said, strict=True)
    ]


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database on Postgres."""
    with postgres.database("template1") as url:
        yield url


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[Sessions]:
    sessions = open_sessions(postgres_url)
    yield sessions
    await sessions.aclose()


@pytest.mark.slow
async def test_upgrades_at_one_time_all_end_well(new: Sessions) -> None:
    url = new.engine.url.render_as_string()
    assert await upgrade_in_processes_at_one_time(url) == [(0, "")] * AT_ONE_TIME
    await migrations.check(new)


@pytest.mark.slow
async def test_upgrades_at_one_time_all_end_well_on_postgres_too(on_postgres: Sessions) -> None:
    url = on_postgres.engine.url.render_as_string()
    assert await upgrade_in_processes_at_one_time(url) == [(0, "")] * AT_ONE_TIME
    await migrations.check(on_postgres)


async def test_assets_of_before_have_no_failures_on_postgres_either(on_postgres: Sessions) -> None:
    await upgraded_with_rows(on_postgres)


async def test_an_upgrade_of_postgres_waits_for_one_that_runs(on_postgres: Sessions) -> None:
    """Seen from the one that runs: it holds the lock, and the other has made nothing yet."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    made = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    async with on_postgres.engine.begin() as running:
        await running.execute(select(func.pg_advisory_xact_lock(migrations.UPGRADING)))
        upgrade = asyncio.create_task(migrations.upgrade(on_postgres))

        async def waits_or_ended() -> bool:
            return upgrade.done() or bool((await running.execute(waiting)).scalar())

        await until(waits_or_ended, within=20)
        assert not upgrade.done()
        assert (await running.execute(made)).scalar() == 0
    await upgrade
    await migrations.check(on_postgres)


# -- code and database of different ages -------------------------------------------------------------------------------

FUTURE = text("UPDATE alembic_version SET version_num = '9999'")


async def test_the_schema_of_a_newer_imgsvc_serves_an_older_one(new: Sessions) -> None:
    """While machines are updated one after the other, those not yet updated go on."""
    await migrations.upgrade(new)
    async with new.write() as session:
        await (await session.connection()).execute(FUTURE)
    await migrations.check(new)


async def test_an_older_imgsvc_leaves_the_schema_of_a_newer_one_alone(new: Sessions) -> None:
    await migrations.upgrade(new)
    async with new.write() as session:
        await (await session.connection()).execute(FUTURE)
    with pytest.raises(StartupError, match=r"newer imgsvc \(schema 9999\): update this one"):
        await migrations.upgrade(new)

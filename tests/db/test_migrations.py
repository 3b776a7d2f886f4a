"""The migrations: they match the models, go both ways, and report an old schema."""

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

SCRIPTS = ScriptDirectory.from_config(migrations.alembic_config())
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]


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
    """Sessions on a database that does not exist yet."""
    sessions = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/new.db")
    yield sessions
    await sessions.aclose()


async def go(sessions: Sessions, step: Any, revision: str) -> None:
    async with sessions.engine.begin() as connection:
        await connection.run_sync(lambda sync: step(migrations.alembic_config(sync), revision))


async def schema(sessions: Sessions) -> dict[str, str]:
    """Return the statement that creates each table and index, with normalised white space."""
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


async def test_checks_and_partial_indexes_match_the_models(new: Sessions, tmp_path: Path) -> None:
    """Compare what alembic does not."""
    await migrations.upgrade(new)
    from_models = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/models.db")
    async with from_models.engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    migrated, expected = await schema(new), await schema(from_models)
    await from_models.aclose()

    assert migrated.keys() == expected.keys()
    for name, statement in expected.items():
        assert constraints(migrated[name]) == constraints(statement), name
        if statement.startswith("CREATE INDEX"):
            assert migrated[name] == statement


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


async def check_upgrade_with_rows(sessions: Sessions) -> None:
    """Upgrade a batch from the schema before 0006, and check the new columns of its asset."""
    await migrations.upgrade(sessions)
    await go(sessions, command.downgrade, str(SCRIPTS.get_revision("0006").down_revision))
    now = datetime(2026, 11, 1, tzinfo=UTC)
    is_sqlite = sessions.engine.dialect.name == "sqlite"
    async with sessions.engine.begin() as connection:
        for statement in (A_BATCH, AN_ASSET):
            await connection.execute(statement, {"now": now.isoformat(" ") if is_sqlite else now})
    await go(sessions, command.upgrade, "head")
    async with sessions.read() as session:
        [asset] = await session.exec(sqlmodel_select(Asset))
    assert (asset.attempts, asset.lost, asset.suspicion) == (2, 1, None)
    assert (asset.storage_failures, asset.quarantine_failures) == (0, 0)


async def test_older_assets_have_no_storage_and_quarantine_failures(new: Sessions) -> None:
    await check_upgrade_with_rows(new)


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


async def test_the_local_key_gets_a_random_webhook_secret(new: Sessions, tmp_path: Path) -> None:
    await migrations.upgrade(new)
    secret = await webhook_secret(sessions=new)
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24
    assert Webhook(secret)

    other = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    await migrations.upgrade(other)
    assert await webhook_secret(sessions=other) != secret
    await other.aclose()


# -- concurrent upgrades, as when `imgsvc db upgrade` is started on two machines ---------------------------------------

UPGRADE_ON_INPUT = """
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
PROCESSES = 4


async def upgrade_in_processes(url: str) -> list[tuple[int | None, str]]:
    """Upgrade the database at `url` in several processes at once; return their return codes and errors."""
    processes = [
        await create_subprocess_exec(sys.executable, "-c", UPGRADE_ON_INPUT, url, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.wait_for(asyncio.gather(*(process.communicate(b"go\n") for process in processes)), 60)
    return [
        (process.returncode, errors.decode().strip()[-500:])
        for process, (_, errors) in zip(processes, outputs, strict=True)
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
async def test_concurrent_upgrades_all_succeed(new: Sessions) -> None:
    url = new.engine.url.render_as_string()
    assert await upgrade_in_processes(url) == [(0, "")] * PROCESSES
    await migrations.check(new)


@pytest.mark.slow
async def test_concurrent_upgrades_all_succeed_on_postgres(on_postgres: Sessions) -> None:
    url = on_postgres.engine.url.render_as_string()
    assert await upgrade_in_processes(url) == [(0, "")] * PROCESSES
    await migrations.check(on_postgres)


async def test_older_assets_have_no_such_failures_on_postgres(on_postgres: Sessions) -> None:
    await check_upgrade_with_rows(on_postgres)


TABLES = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


async def test_an_upgrade_of_postgres_does_nothing_while_another_is_running(on_postgres: Sessions) -> None:
    """Act as the other upgrade: it holds the lock, and has not created any table yet."""
    async with on_postgres.engine.begin() as other:
        await other.execute(select(func.pg_advisory_xact_lock(migrations.UPGRADE_LOCK)))
        with pytest.raises(DatabaseUnavailable, match="Another upgrade"):
            await migrations.upgrade(on_postgres, give_up_after=0.1)
        assert (await other.execute(TABLES)).scalar() == 0
        waiting = asyncio.create_task(migrations.upgrade(on_postgres))
    await waiting
    await migrations.check(on_postgres)


async def test_an_index_is_created_concurrently_while_another_upgrade_waits(on_postgres: Sessions) -> None:
    """Check that those who wait have no statement open: a concurrent index would wait for it forever."""
    await migrations.upgrade(on_postgres)
    async with migrations.turn(on_postgres, 60), asyncio.timeout(60):
        waiting = asyncio.create_task(migrations.upgrade(on_postgres))
        for _ in range(3):
            statements = ("DROP INDEX CONCURRENTLY IF EXISTS ix", "CREATE INDEX CONCURRENTLY ix ON asset (slug)")
            await migrations.run_outside_transaction(on_postgres, statements)
        assert not waiting.done()
    await waiting


async def test_a_migration_waits_for_a_table_without_blocking_others(on_postgres: Sessions) -> None:
    """Hold a table that the last migration changes: the upgrade is repeated until it is free."""
    await migrations.upgrade(on_postgres)
    await go(on_postgres, command.downgrade, "0006")
    async with on_postgres.engine.begin() as report:
        await report.execute(text("SELECT count(*) FROM batch"))
        upgrade = asyncio.create_task(migrations.upgrade(on_postgres, lock_timeout=0.05))
        blocked = text("SELECT count(*) FROM pg_locks WHERE relation = 'batch'::regclass AND NOT granted")

        async def is_blocked() -> bool:
            async with on_postgres.engine.begin() as watcher:
                return bool((await watcher.execute(blocked)).scalar())

        async def is_free() -> bool:
            return not await is_blocked()

        for _ in range(2):
            await until(is_blocked, within=20)
            await until(is_free, within=20)
        assert not upgrade.done()
    await upgrade
    await migrations.check(on_postgres)


async def test_an_upgrade_names_the_statement_that_waited_in_vain(on_postgres: Sessions) -> None:
    await migrations.upgrade(on_postgres)
    await go(on_postgres, command.downgrade, "0006")
    async with on_postgres.engine.begin() as report:
        await report.execute(text("SELECT count(*) FROM batch"))
        with pytest.raises(DatabaseUnavailable, match=r"migration 0007 changes.*ALTER TABLE batch"):
            await migrations.upgrade(on_postgres, give_up_after=0.2, lock_timeout=0.05)
    await migrations.upgrade(on_postgres)


# -- code and database of different ages -------------------------------------------------------------------------------

FUTURE = text("UPDATE alembic_version SET version_num = '9999'")


async def test_an_older_imgsvc_runs_on_the_schema_of_a_newer_one(new: Sessions) -> None:
    """Check a rolling update: machines that are not updated yet keep working."""
    await migrations.upgrade(new)
    async with new.write() as session:
        await (await session.connection()).execute(FUTURE)
    await migrations.check(new)


async def test_an_older_imgsvc_does_not_change_the_schema_of_a_newer_one(new: Sessions) -> None:
    await migrations.upgrade(new)
    async with new.write() as session:
        await (await session.connection()).execute(FUTURE)
    with pytest.raises(StartupError, match=r"newer imgsvc \(schema 9999\): update this one"):
        await migrations.upgrade(new)

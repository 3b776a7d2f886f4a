"""Through PgBouncer in transaction mode: everything works without a setting, and direct connections stay as quick."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import select

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Asset, Batch
from imgsvc.errors import DatabaseUnavailable
from support.batches import asset_row, batch_of, batch_row, store
from support.databases import Postgres, read_name, write_name
from support.poolers import NEEDS_PGBOUNCER, PORT, PgBouncer
from support.stack import until

pytestmark = NEEDS_PGBOUNCER
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
CLIENTS = 20


@pytest.fixture
def database_kind() -> str:
    return "pgbouncer"


async def count_up(sessions: Sessions) -> None:
    async with sessions.write() as session:
        batch = (await session.exec(select(Batch).where(Batch.id == "bat_1").with_for_update())).one()
        version = batch.version
        await asyncio.sleep(0)
        batch.version = version + 1
        session.add(batch)


@asynccontextmanager
async def stranger(pgbouncer: PgBouncer, url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect as another program through the same PgBouncer."""
    name = url.partition("@/")[2].partition("?")[0]
    server = {"host": str(pgbouncer.folder), "port": PORT, "user": "postgres", "database": name}
    connection = await asyncpg.connect(**server, statement_cache_size=0)
    yield connection
    await connection.close()


# -- what imgsvc does -------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(pgbouncer: PgBouncer, postgres: Postgres) -> Iterator[str]:
    with postgres.database("template1") as url:
        yield pgbouncer.url(url)


async def test_several_upgrades_at_once_create_the_schema(empty: str) -> None:
    several = [open_sessions(empty) for _ in range(3)]
    await asyncio.gather(*(migrations.upgrade(sessions) for sessions in several))
    await migrations.check(several[0])
    for sessions in several:
        await sessions.aclose()


async def test_writers_that_share_connections_lose_no_update(sessions: Sessions, database: str) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    elsewhere = open_sessions(database)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(count_up(elsewhere if number % 2 else sessions))
    await elsewhere.aclose()
    assert (await batch_of(sessions, "bat_1")).version == CLIENTS + 1


async def test_statements_of_many_clients_are_not_mixed_up(sessions: Sessions, database: str) -> None:
    """Send different statements at once, repeatedly: those of other clients are on the connections that they get."""

    async def numbers(own: Sessions, column: int) -> list[Any]:
        found = []
        for value in range(10):
            async with own.read() as session:
                connection = await session.connection()
                found.append((await connection.execute(text(f"SELECT {column}, {value}"))).one())
        return found

    others = [open_sessions(database) for _ in range(4)]
    results = await asyncio.gather(*(numbers(own, column) for column, own in enumerate([sessions, *others])))
    for own in others:
        await own.aclose()
    assert results == [[(column, value) for value in range(10)] for column in range(5)]


async def test_a_reader_keeps_its_snapshot(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    async with sessions.read() as reader:
        before = list(await reader.exec(select(Asset.position)))
        for position in range(5):
            await store(sessions, asset_row("bat_1", position, NOW))
        assert list(await reader.exec(select(Asset.position))) == before == []


async def test_a_frozen_process_loses_its_locks(sessions: Sessions) -> None:
    async with sessions.write() as session:
        connection = await session.connection()
        timeout = await connection.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert timeout.scalar() == "15s"


async def test_nothing_is_left_behind_for_other_programs(
    sessions: Sessions, pgbouncer: PgBouncer, database: str
) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(write_name(sessions, f"name {number}"))
    async with stranger(pgbouncer, database) as connection, connection.transaction():
        assert await connection.fetch("SELECT name FROM pg_prepared_statements") == []
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "0"


# -- failures ---------------------------------------------------------------------------------------------------------


async def test_a_slow_statement_is_cancelled_on_the_server(sessions: Sessions, database: str) -> None:
    impatient = open_sessions(database, statement_timeout=0.2)
    with pytest.raises(DatabaseUnavailable):
        async with impatient.write() as session:
            await (await session.connection()).execute(text("SELECT pg_sleep(600)"))
    sleeping = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")

    async def is_cancelled() -> bool:
        async with sessions.read() as session:
            return not (await (await session.connection()).execute(sleeping)).scalar()

    await until(is_cancelled)
    await impatient.aclose()


async def test_while_pgbouncer_is_away_the_database_is_unavailable(sessions: Sessions, pgbouncer: PgBouncer) -> None:
    await write_name(sessions, "before")
    with pgbouncer.killed(), pytest.raises(DatabaseUnavailable):
        await read_name(sessions)
    assert await read_name(sessions) == "before"


async def test_pgbouncer_killed_in_a_transaction_undoes_and_reports_it(
    sessions: Sessions, pgbouncer: PgBouncer
) -> None:
    before = await read_name(sessions)
    with pytest.raises(DatabaseUnavailable):
        async with sessions.write() as session:
            await (await session.connection()).execute(text("UPDATE api_key SET name = 'lost'"))
            with pgbouncer.killed():
                pass
            await (await session.connection()).execute(text("UPDATE api_key SET name = 'lost'"))
    assert await read_name(sessions) == before
    await write_name(sessions, "after")


# -- without PgBouncer ------------------------------------------------------------------------------------------------


async def prepared(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT count(*) FROM pg_prepared_statements"))).scalar_one())


async def test_direct_connections_keep_their_prepared_statements(sessions: Sessions, postgres_database: str) -> None:
    direct = open_sessions(postgres_database)
    found = []
    for own in (direct, sessions):
        async with own.read() as session:
            connection = await session.connection()
            for number in range(3):
                await connection.execute(text(f"SELECT {number}"))
            found.append(await prepared(connection))
    await direct.aclose()
    assert found[0] >= 3
    assert found[1] == 0

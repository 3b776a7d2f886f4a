"""Postgres that is stopped, restarted, frozen, full or busy: calls fail cleanly and work again afterwards."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import ApiKey, Batch
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.clock import utc_now
from support.batches import batch_row, store
from support.databases import Postgres, read_name, write_name
from support.stack import until

pytestmark = pytest.mark.slow

STOPS = [signal.SIGINT, signal.SIGQUIT]


@pytest.fixture
def database_kind() -> str:
    return "postgres"


@pytest.fixture
async def impatient(database: str) -> AsyncIterator[Sessions]:
    """Sessions with a statement timeout of half a second."""
    sessions = open_sessions(database, statement_timeout=0.5)
    yield sessions
    await sessions.aclose()


async def is_written(sessions: Sessions, name: str) -> bool:
    """Write `name`; on a busy machine a statement may exceed the short timeout."""
    try:
        await write_name(sessions, name)
    except DatabaseUnavailable:
        return False
    return True


async def is_read(sessions: Sessions, name: str) -> bool:
    try:
        return await read_name(sessions) == name
    except DatabaseUnavailable:
        return False


async def run(session: AsyncSession, statement: str) -> Any:
    return await (await session.connection()).execute(text(statement))


# -- stopped and started again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STOPS)
async def test_a_stopped_server_is_unavailable_and_works_again_after_a_restart(
    sessions: Sessions, postgres: Postgres, how: signal.Signals
) -> None:
    await asyncio.gather(*(read_name(sessions) for _ in range(12)))  # pooled connections that the stop will break
    await write_name(sessions, "kept")
    with postgres.stopped(how):
        for attempt in (read_name(sessions), write_name(sessions, "lost")):
            with pytest.raises(DatabaseUnavailable):
                await attempt
    assert set(await asyncio.gather(*(read_name(sessions) for _ in range(12)))) == {"kept"}
    await write_name(sessions, "written")


@pytest.mark.parametrize("how", STOPS)
async def test_a_restart_between_two_transactions_goes_unnoticed(
    sessions: Sessions, postgres: Postgres, how: signal.Signals
) -> None:
    await write_name(sessions, "before")
    with postgres.stopped(how):
        pass
    assert await read_name(sessions) == "before"


@pytest.mark.parametrize("how", STOPS)
async def test_a_stop_during_a_transaction_undoes_it(
    sessions: Sessions, postgres: Postgres, how: signal.Signals
) -> None:
    name = await read_name(sessions)
    with pytest.raises(DatabaseUnavailable):
        async with sessions.write() as session:
            await run(session, "UPDATE api_key SET name = 'lost'")
            postgres.stop(how)
            await run(session, "UPDATE api_key SET name = 'lost, too'")
    postgres.start()
    assert await read_name(sessions) == name


@pytest.mark.parametrize("how", STOPS)
async def test_a_restart_just_before_the_commit_undoes_and_reports_it(
    sessions: Sessions, postgres: Postgres, how: signal.Signals
) -> None:
    name = await read_name(sessions)
    with pytest.raises(DatabaseUnavailable):
        async with sessions.write() as session:
            await run(session, "UPDATE api_key SET name = 'lost'")
            with postgres.stopped(how):
                pass
    assert await read_name(sessions) == name


async def test_a_server_shutting_down_accepts_no_new_client(sessions: Sessions, postgres: Postgres) -> None:
    try:
        async with sessions.read() as session:
            await session.exec(select(ApiKey.name))
            postgres.ask_to_stop(signal.SIGTERM)
            with pytest.raises(DatabaseUnavailable, match="shutting down"):
                while True:  # until the signal has arrived
                    await read_name(sessions)
    finally:
        postgres.stop()


# -- frozen -----------------------------------------------------------------------------------------------------------


async def read_with_a_new_connection(sessions: Sessions) -> str:
    await sessions.engine.dispose()
    return await read_name(sessions)


@pytest.mark.parametrize("call", [read_name, read_with_a_new_connection], ids=["pooled connection", "new connection"])
async def test_a_frozen_server_is_unavailable_and_works_again_afterwards(
    impatient: Sessions, postgres: Postgres, call: Callable[[Sessions], Any]
) -> None:
    await until(lambda: is_written(impatient, "kept"))
    with postgres.frozen():
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseUnavailable):
                await call(impatient)
    await until(lambda: is_read(impatient, "kept"))


@pytest.mark.parametrize("at", ["statement", "commit"])
async def test_a_server_that_freezes_during_a_transaction_is_unavailable(
    impatient: Sessions, postgres: Postgres, at: str
) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            async with impatient.write() as session:
                await run(session, "UPDATE api_key SET name = 'never'")
                with postgres.frozen():
                    if at == "statement":
                        await run(session, "SELECT 1")
                    else:
                        await (await session.connection()).commit()
    await until(lambda: is_written(impatient, "mine"))


# -- locks ------------------------------------------------------------------------------------------------------------


async def test_a_writer_gives_up_on_a_long_held_lock_and_leaves_nothing(
    sessions: Sessions, impatient: Sessions
) -> None:
    async with sessions.write() as session:
        await run(session, "UPDATE api_key SET name = 'mine'")
        with pytest.raises(DatabaseUnavailable):
            await write_name(impatient, "theirs")
    assert await read_name(sessions) == "mine"


async def test_a_frozen_process_loses_its_locks_and_gets_an_error_on_waking(sessions: Sessions, database: str) -> None:
    frozen = open_sessions(database)
    with pytest.raises(DatabaseUnavailable):
        async with frozen.write() as session:
            assert (await run(session, "SHOW idle_in_transaction_session_timeout")).scalar() == "15s"
            await run(session, "UPDATE api_key SET name = 'frozen'")
            await run(session, "SET idle_in_transaction_session_timeout = 50")  # last: from here on it is too slow
            await write_name(sessions, "theirs")
            await run(session, "UPDATE api_key SET name = 'awake'")
    assert await read_name(frozen) == "theirs"
    await frozen.aclose()


async def test_a_write_cancelled_in_a_statement_releases_its_locks(sessions: Sessions, database: str) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with sessions.write() as session:
            await run(session, "UPDATE api_key SET name = 'cancelled'")
            inside.set()
            await run(session, "SELECT pg_sleep(600)")

    hanging = asyncio.create_task(hang())
    await inside.wait()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert hanging.cancelled()
    await write_name(sessions, "mine")
    assert await read_name(sessions) == "mine"


# -- errors -----------------------------------------------------------------------------------------------------------

TEMPORARY = {
    "08006": "connection failure",
    "25006": "read-only, as after a failover",
    "25P03": "too long in a transaction",
    "28P01": "wrong password",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "57014": "cancelled",
    "57P01": "shutting down",
    "57P03": "starting up",
    "58030": "I/O error",
}
BUGS = {"22001": "too long", "22021": "NUL", "23503": "no such batch", "23505": "twice", "42P01": "no such table"}


async def fail(sessions: Sessions, state: str) -> None:
    async with sessions.write() as session:
        await run(session, f"DO $$ BEGIN RAISE EXCEPTION 'it broke' USING ERRCODE = '{state}'; END $$")


@pytest.mark.parametrize("state", TEMPORARY, ids=TEMPORARY.values())
async def test_a_temporary_error_is_reported_as_unavailable(sessions: Sessions, state: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="it broke"):
        await fail(sessions, state)


@pytest.mark.parametrize("state", BUGS, ids=BUGS.values())
async def test_a_bug_is_not_taken_for_an_unavailable_database(sessions: Sessions, state: str) -> None:
    with pytest.raises(DBAPIError, match="it broke"):
        await fail(sessions, state)


async def test_a_value_that_the_driver_refuses_is_a_bug(sessions: Sessions) -> None:
    with pytest.raises(DBAPIError, match="out of"):
        await store(sessions, batch_row("bat_1", utc_now(), asset_count=2**40))


async def test_a_nonexistent_database_is_unavailable(sessions: Sessions, postgres: Postgres) -> None:
    nowhere = open_sessions(postgres.url("nowhere"))
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        await read_name(nowhere)
    await nowhere.aclose()


async def test_an_incomplete_write_leaves_nothing(sessions: Sessions) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with sessions.write() as session:
            session.add(batch_row("bat_1", utc_now()))
            await session.flush()
            await run(session, "DO $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$")
    async with sessions.read() as session:
        assert list(await session.exec(select(Batch.id))) == []

"""Sessions: values survive storage, writers never lose an update, readers never wait."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlmodel import select

from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.queries import leases, outcomes
from imgsvc.db.tables import Asset, Batch
from imgsvc.services.processing.outcomes import Postponed, columns
from support.batches import asset_row, batch_of, batch_row, store

NOW = datetime(2026, 11, 2, 9, 30, 0, 123_456, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def batch(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))


@pytest.fixture
async def elsewhere(database: str) -> AsyncIterator[Sessions]:
    """Sessions of another process on the same database."""
    sessions = open_sessions(database)
    yield sessions
    await sessions.aclose()


async def count_up(sessions: Sessions) -> None:
    """Read under the lock that every writer takes first, let other tasks run, then write."""
    async with sessions.write() as session:
        batch = (await session.exec(select(Batch).where(Batch.id == "bat_1").with_for_update())).one()
        version = batch.version
        await asyncio.sleep(0)
        batch.version = version + 1
        session.add(batch)


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
async def test_a_time_comes_back_in_utc_to_the_microsecond(sessions: Sessions, zone: timezone) -> None:
    await store(sessions, batch_row("bat_2", NOW.astimezone(zone)))
    created_at = (await batch_of(sessions, "bat_2")).created_at
    assert (created_at, created_at.tzinfo) == (NOW, UTC)


async def test_none_in_a_json_column_is_null(sessions: Sessions) -> None:
    await store(
        sessions,
        asset_row("bat_1", 0, NOW),
        asset_row("bat_1", 1, NOW, status="processing", claim="t", renditions=[{"key": "a"}]),
    )
    async with sessions.write() as session:
        connection = await session.connection()
        assert (await connection.execute(text("SELECT count(*) FROM asset WHERE renditions IS NULL"))).scalar() == 1
        postponed = Postponed(leases.Claimed(1, "", "", 0, 0), 0, NOW)
        await outcomes.write_outcomes(session, "bat_1", "t", [columns(postponed, NOW)])
        assert (await connection.execute(text("SELECT count(*) FROM asset WHERE renditions IS NULL"))).scalar() == 2


async def test_a_row_needs_its_batch(sessions: Sessions) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await store(sessions, asset_row("bat_none", 0, NOW))


# -- writers ----------------------------------------------------------------------------------------------------------


async def test_writers_of_one_process_and_of_two_never_lose_an_update(sessions: Sessions, elsewhere: Sessions) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(40):  # within Postgres's pool: no task waits for a connection, a wait that is bounded
            group.create_task(count_up(elsewhere if number % 2 else sessions))
    assert (await batch_of(sessions, "bat_1")).version == 41


async def test_a_writer_that_raises_leaves_nothing(sessions: Sessions) -> None:
    with pytest.raises(ZeroDivisionError):
        async with sessions.write() as session:
            session.add(asset_row("bat_1", 0, NOW))
            await session.flush()
            raise ZeroDivisionError
    async with sessions.read() as session:
        assert (await session.exec(select(Asset))).all() == []


@pytest.mark.parametrize("error", [OSError("ours"), TimeoutError("ours"), ConnectionResetError("ours")])
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_callers_error_is_not_taken_for_an_unavailable_database(
    sessions: Sessions, kind: str, error: OSError
) -> None:
    with pytest.raises(type(error)) as caught:
        async with getattr(sessions, kind)() as session:
            session.add(asset_row("bat_1", 0, NOW))
            await session.flush()
            raise error
    assert caught.value is error
    async with sessions.read() as session:
        assert (await session.exec(select(Asset))).all() == []


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_callers_timeout_is_passed_on_unchanged(sessions: Sessions, kind: str) -> None:
    async with getattr(sessions, kind)() as session:
        await session.exec(select(Batch))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()


async def test_a_cancelled_writer_leaves_nothing_and_admits_the_next(sessions: Sessions) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        async with sessions.write() as session:
            session.add(asset_row("bat_1", 0, NOW))
            await session.flush()
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await count_up(sessions)
    async with sessions.read() as session:
        assert (await session.exec(select(Asset))).all() == []


async def test_changes_by_a_reader_are_discarded(sessions: Sessions) -> None:
    async with sessions.read() as session:
        session.add(asset_row("bat_1", 0, NOW))
        await session.flush()
    async with sessions.read() as session:
        assert (await session.exec(select(Asset))).all() == []


# -- readers ----------------------------------------------------------------------------------------------------------


async def test_a_reader_does_not_wait_for_a_writer_and_sees_the_committed_state(
    sessions: Sessions, elsewhere: Sessions
) -> None:
    async with sessions.write() as session:
        session.add(asset_row("bat_1", 0, NOW))
        await session.flush()
        for readers in (sessions, elsewhere):
            async with readers.read() as reader:
                assert (await reader.exec(select(Asset))).all() == []


async def test_a_reader_keeps_its_snapshot_and_does_not_block_writers(sessions: Sessions, elsewhere: Sessions) -> None:
    async with sessions.read() as reader:
        versions = select(Batch.version)
        assert (await reader.exec(versions)).one() == 1
        await count_up(sessions)
        await count_up(elsewhere)
        assert (await reader.exec(versions)).one() == 1
    assert (await batch_of(sessions, "bat_1")).version == 3

"""Stored files: who names them, and the lock that keeps naming and removing apart."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import stored_files
from imgsvc.db.queries.api_keys import LOCAL_KEY
from support.batches import batch_row, store
from support.stack import until

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SHOE, BOOT = (f"0123456789abcdef01234567/{name}-1-aaaaaaaaaaaaaaaa.jpg" for name in ("shoe", "boot"))


@pytest.fixture
async def batch_id(sessions: Sessions) -> str:
    await store(sessions, batch_row("bat_1", NOW))
    return "bat_1"


async def unnamed(sessions: Sessions) -> list[str]:
    async with sessions.read() as session:
        return await stored_files.unnamed(session, [SHOE, BOOT])


async def test_a_file_is_named_until_its_batch_is_forgotten_or_gone(sessions: Sessions, batch_id: str) -> None:
    async with sessions.write() as session:
        await stored_files.note_files(session, batch_id, [(SHOE, 0), (SHOE, 1)])
        await stored_files.note_files(session, batch_id, [(SHOE, 0)])
        await stored_files.note_files(session, "bat_removed_by_an_earlier_version", [(BOOT, 0)])
    assert await unnamed(sessions) == [BOOT]
    async with sessions.write() as session:
        await stored_files.forget_batch(session, batch_id, [SHOE])
    assert await unnamed(sessions) == [SHOE, BOOT]


async def test_a_removal_counts_for_plans_that_were_read_before_its_end(sessions: Sessions) -> None:
    async with sessions.write() as session:
        await stored_files.begin_removal(session, LOCAL_KEY, [SHOE], NOW)
    async with sessions.write() as session:
        assert await stored_files.removed_since(session, {SHOE, BOOT}, 99) == {SHOE}  # in progress
        await stored_files.end_removal(session, LOCAL_KEY, [SHOE], NOW)
        assert await stored_files.removed_since(session, {SHOE, BOOT}, 0) == {SHOE}
        assert await stored_files.removed_since(session, {SHOE, BOOT}, 1) == set()


async def test_a_removal_that_was_begun_again_is_not_ended_by_the_first(sessions: Sessions) -> None:
    later = NOW + timedelta(minutes=3)
    async with sessions.write() as session:
        await stored_files.begin_removal(session, LOCAL_KEY, [SHOE], NOW)
        await stored_files.begin_removal(session, LOCAL_KEY, [SHOE], later)
        await stored_files.end_removal(session, LOCAL_KEY, [SHOE], NOW)
        assert await stored_files.interrupted_removals(session, later, limit=9) == [(LOCAL_KEY, SHOE)]
        await stored_files.end_removal(session, LOCAL_KEY, [SHOE], later)
        assert await stored_files.interrupted_removals(session, later, limit=9) == []
        await stored_files.forget_removals(session, NOW)
        assert await stored_files.removed_since(session, {SHOE}, 0) == {SHOE}
        await stored_files.forget_removals(session, later)
        assert await stored_files.removed_since(session, {SHOE}, 0) == set()


@pytest.mark.parametrize("database_kind", ["postgres"])  # SQLite has one writer at a time
async def test_a_file_that_is_being_named_is_not_removed(sessions: Sessions, batch_id: str) -> None:
    """A removal waits for the transactions that have looked for removals, and sees what they have written."""

    async def unnamed_under_the_lock() -> list[str]:
        async with sessions.write() as session:
            await stored_files.lock(session, LOCAL_KEY, shared=False)
            return await stored_files.unnamed(session, [SHOE])

    async with sessions.write() as session:
        await stored_files.lock(session, LOCAL_KEY, shared=True)
        assert await stored_files.removed_since(session, {SHOE}, 0) == set()
        removing = asyncio.create_task(unnamed_under_the_lock())
        await until(lambda: _is_waiting(sessions))
        await stored_files.note_files(session, batch_id, [(SHOE, 0)])
    assert await removing == []


async def _is_waiting(sessions: Sessions) -> bool:
    async with sessions.read() as session:
        connection = await session.connection()
        waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool((await connection.execute(waiting)).scalar_one())

"""SQLite that is unusable: locked, full, replaced while open, or not a database."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import select

from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Batch
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.clock import utc_now
from support.batches import batch_row, store
from support.databases import ONLY_SQLITE, read_name, write_name
from support.stack import until

pytestmark = ONLY_SQLITE
REPLACED = "was replaced or removed while it was open; restart imgsvc"


@pytest.fixture
async def sessions(database: str) -> AsyncIterator[Sessions]:
    """Sessions with a shorter busy timeout than in production."""
    sessions = open_sessions(database, busy_timeout=0.1)
    yield sessions
    await sessions.aclose()


@pytest.fixture
def intruder(database_path: Path) -> Iterator[sqlite3.Connection]:
    """A program that holds the write lock."""
    with closing(sqlite3.connect(database_path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


# -- locked -----------------------------------------------------------------------------------------------------------


async def test_a_locked_database_is_unavailable_until_it_is_unlocked(
    sessions: Sessions, intruder: sqlite3.Connection
) -> None:
    name = await read_name(sessions)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await write_name(sessions, "mine")
    assert await read_name(sessions) == name  # readers do not need the lock
    intruder.execute("ROLLBACK")
    await write_name(sessions, "mine")
    assert await read_name(sessions) == "mine"


async def test_a_writer_waits_for_a_short_lock(database: str, sessions: Sessions, intruder: sqlite3.Connection) -> None:
    patient = open_sessions(database)
    waiting = asyncio.create_task(write_name(patient, "mine"))
    await read_name(sessions)  # a round trip, while the other one waits
    assert not waiting.done()
    intruder.execute("ROLLBACK")
    await waiting
    assert await read_name(patient) == "mine"
    await patient.aclose()


async def test_a_refused_writer_retries_before_it_gives_up(database: str, intruder: sqlite3.Connection) -> None:
    sessions = open_sessions(database, busy_timeout=0.1)
    sessions.write_timeout = 60  # longer than any delay before it sees the lock free
    refused = asyncio.Event()
    event.listen(sessions.engine.sync_engine, "handle_error", lambda _: refused.set())
    writing = asyncio.create_task(write_name(sessions, "mine"))
    await refused.wait()
    intruder.execute("ROLLBACK")
    await writing
    assert await read_name(sessions) == "mine"
    await sessions.aclose()


async def test_writers_that_wait_for_another_process_time_out_together(
    database: str, intruder: sqlite3.Connection
) -> None:
    """Check that the timeouts overlap: one after the other, the 50 would take 75 s."""
    sessions = open_sessions(database, busy_timeout=0.5)
    async with asyncio.timeout(60):
        writers = (write_name(sessions, f"writer {number}") for number in range(50))
        ends = await asyncio.gather(*writers, return_exceptions=True)
    assert {type(end) for end in ends} == {DatabaseUnavailable}
    intruder.execute("ROLLBACK")
    await write_name(sessions, "mine")  # the lock of this process is free
    await sessions.aclose()


# -- replaced or removed ----------------------------------------------------------------------------------------------


async def assert_unusable(sessions: Sessions) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match=REPLACED):
            await read_name(sessions)
        with pytest.raises(DatabaseUnavailable, match=REPLACED):
            await write_name(sessions, "lost")


async def test_a_replaced_file_is_not_used_until_the_old_one_is_back(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    await write_name(sessions, "ours")
    aside = database_path.rename(database_path.with_name("aside.db"))
    shutil.copy(migrated_database, database_path)
    await assert_unusable(sessions)
    aside.replace(database_path)
    assert await read_name(sessions) == "ours"
    await write_name(sessions, "ours again")


async def test_a_removed_file_is_not_created_again(sessions: Sessions, database_path: Path) -> None:
    await read_name(sessions)
    database_path.unlink()
    await assert_unusable(sessions)
    assert not database_path.exists()


async def test_the_new_file_gets_no_connection_while_an_old_one_is_open(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    async with sessions.read() as session:
        await session.exec(select(Batch.id))
        database_path.unlink()
        shutil.copy(migrated_database, database_path)
        await assert_unusable(sessions)  # these calls would open new connections


async def test_a_write_during_which_the_file_is_replaced_fails(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    other = database_path.with_name("other.db")
    shutil.copy(migrated_database, other)
    with pytest.raises(DatabaseUnavailable, match=REPLACED):
        async with sessions.write() as session:
            session.add(batch_row("bat_1", utc_now()))
            await session.flush()
            other.replace(database_path)


async def test_closing_the_old_file_does_not_damage_the_new_one(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    await write_name(sessions, "old")
    for file in database_path.parent.glob("imgsvc.db*"):  # including -wal and -shm
        file.rename(file.with_name(f"aside-{file.name}"))
    shutil.copy(migrated_database, database_path)
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE api_key SET name = 'new'")
        await assert_unusable(sessions)
        await sessions.aclose()
        with closing(sqlite3.connect(database_path)) as third:
            assert third.execute("SELECT name FROM api_key").fetchall() == [("new",)]


# -- full -------------------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_unavailable_and_an_incomplete_write_leaves_nothing(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", utc_now()))
    await fill_up(sessions)
    with pytest.raises(DatabaseUnavailable, match="full"):
        await store(sessions, *[batch_row(f"bat_{number}", utc_now(), header=["x" * 5_000]) for number in range(2, 9)])
    async with sessions.read() as session:
        assert list(await session.exec(select(Batch.id))) == ["bat_1"]


async def fill_up(sessions: Sessions) -> None:
    """Keep the file from growing any further."""

    def no_more_pages(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the current size
        cursor.close()

    await sessions.engine.dispose()
    event.listen(sessions.engine.sync_engine, "connect", no_more_pages)


# -- no database ------------------------------------------------------------------------------------------------------


async def test_a_database_that_cannot_be_opened_is_unavailable(database: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    sessions = open_sessions(database.replace("imgsvc.db", "folder"))
    for attempt in (read_name(sessions), write_name(sessions, "mine")):
        with pytest.raises(DatabaseUnavailable, match="unable to open"):
            await attempt
    await sessions.aclose()
    await until(no_thread_is_left)


async def no_thread_is_left() -> bool:
    """Return whether all threads have ended; aiosqlite does not wait for that of a failed connection."""
    return not any("_connection_worker_thread" in thread.name for thread in threading.enumerate())

"""SQLite that cannot be used for a while: locked, full, replaced while it was open, no database at all."""

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
    """Gives up on the lock sooner than in production."""
    sessions = open_sessions(database, busy_timeout=0.1)
    yield sessions
    await sessions.aclose()


@pytest.fixture
def intruder(database_path: Path) -> Iterator[sqlite3.Connection]:
    """A program that holds the write lock and does not let go."""
    with closing(sqlite3.connect(database_path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


# -- locked -----------------------------------------------------------------------------------------------------------


async def test_a_locked_database_is_unavailable_until_it_is_free_again(
    sessions: Sessions, intruder: sqlite3.Connection
) -> None:
    name = await read_name(sessions)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await write_name(sessions, "mine")
    assert await read_name(sessions) == name  # readers do not care
    intruder.execute("ROLLBACK")
    await write_name(sessions, "mine")
    assert await read_name(sessions) == "mine"


async def test_a_lock_that_is_held_for_a_moment_is_waited_for(
    database: str, sessions: Sessions, intruder: sqlite3.Connection
) -> None:
    patient = open_sessions(database)
    waiting = asyncio.create_task(write_name(patient, "mine"))
    await read_name(sessions)  # a round trip, while the other one waits
    assert not waiting.done()
    intruder.execute("ROLLBACK")
    await waiting
    assert await read_name(patient) == "mine"
    await patient.aclose()


async def test_a_writer_that_was_refused_tries_again_before_it_gives_up(
    database: str, intruder: sqlite3.Connection
) -> None:
    sessions = open_sessions(database, busy_timeout=0.1)
    sessions.write_timeout = 60  # however late it hears that the lock is free
    refused = asyncio.Event()
    event.listen(sessions.engine.sync_engine, "handle_error", lambda _: refused.set())
    writing = asyncio.create_task(write_name(sessions, "mine"))
    await refused.wait()
    intruder.execute("ROLLBACK")
    await writing
    assert await read_name(sessions) == "mine"
    await sessions.aclose()


async def test_writers_that_wait_behind_a_foreign_lock_give_up_together(
    database: str, intruder: sqlite3.Connection
) -> None:
    """One after the other, the 50 would take 75 s."""
    sessions = open_sessions(database, busy_timeout=0.5)
    async with asyncio.timeout(60):
        writers = (write_name(sessions, f"writer {number}") for number in range(50))
        ends = await asyncio.gather(*writers, return_exceptions=True)
    assert {type(end) for end in ends} == {DatabaseUnavailable}
    intruder.execute("ROLLBACK")
    await write_name(sessions, "mine")  # nobody kept the turn
    await sessions.aclose()


# -- replaced or removed ----------------------------------------------------------------------------------------------


async def assert_unusable(sessions: Sessions) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match=REPLACED):
            await read_name(sessions)
        with pytest.raises(DatabaseUnavailable, match=REPLACED):
            await write_name(sessions, "lost")


async def test_a_file_that_was_replaced_is_left_alone_until_the_old_one_is_back(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    await write_name(sessions, "ours")
    aside = database_path.rename(database_path.with_name("aside.db"))
    shutil.copy(migrated_database, database_path)
    await assert_unusable(sessions)
    aside.replace(database_path)
    assert await read_name(sessions) == "ours"
    await write_name(sessions, "ours again")


async def test_a_file_that_was_removed_is_not_made_anew(sessions: Sessions, database_path: Path) -> None:
    await read_name(sessions)
    database_path.unlink()
    await assert_unusable(sessions)
    assert not database_path.exists()


async def test_while_an_old_connection_is_open_the_new_file_gets_none(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    async with sessions.read() as session:
        await session.exec(select(Batch.id))
        database_path.unlink()
        shutil.copy(migrated_database, database_path)
        await assert_unusable(sessions)  # their connections would be new ones


async def test_a_write_during_which_the_file_is_replaced_is_not_taken_for_stored(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    other = database_path.with_name("other.db")
    shutil.copy(migrated_database, other)
    with pytest.raises(DatabaseUnavailable, match=REPLACED):
        async with sessions.write() as session:
            session.add(batch_row("bat_1", utc_now()))
            await session.flush()
            other.replace(database_path)


async def test_closing_the_old_file_does_no_harm_to_what_others_wrote_into_the_new_one(
    sessions: Sessions, database_path: Path, migrated_database: Path
) -> None:
    await write_name(sessions, "old")
    for file in database_path.parent.glob("imgsvc.db*"):  # -wal and -shm too
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


async def test_a_full_disk_is_unavailable_and_half_a_write_leaves_nothing(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", utc_now()))
    await fill_up(sessions)
    with pytest.raises(DatabaseUnavailable, match="full"):
        await store(sessions, *[batch_row(f"bat_{number}", utc_now(), header=["x" * 5_000]) for number in range(2, 9)])
    async with sessions.read() as session:
        assert list(await session.exec(select(Batch.id))) == ["bat_1"]


async def fill_up(sessions: Sessions) -> None:
    """From here on the file may not grow."""

    def no_more_pages(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA max_page_count = 1")  # SQLite makes of it what there is already
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
    """aiosqlite does not wait for the thread of a connection that failed, which then misses its event loop."""
    return not any("_connection_worker_thread" in thread.name for thread in threading.enumerate())

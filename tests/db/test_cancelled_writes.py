"""A write that is cancelled in the middle of a statement lets others write at once."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from databases import ONLY_SQLITE
from imgsvc.db.engine import Sessions

pytestmark = ONLY_SQLITE

# Long enough to be cancelled in, short enough to end by itself: it goes on in its thread.
SLOW = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000000) SELECT count(*) FROM n")


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """It would free the connection in the end; an upload keeps it away for seconds."""
    gc.disable()
    yield
    gc.enable()


async def test_a_write_that_is_cancelled_in_a_statement_gives_up_the_lock(
    sessions: Sessions, database_path: Path, no_garbage_collection: None
) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with sessions.write() as session:
            inside.set()
            await session.exec(SLOW)  # type: ignore[call-overload]  # plain SQL

    writing = asyncio.create_task(write())
    await inside.wait()
    await asyncio.to_thread(wait_for_the_lock_to_be_taken, database_path)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    await asyncio.to_thread(write_elsewhere, database_path)
    async with sessions.write() as session:
        await session.exec(text("UPDATE api_key SET name = 'mine'"))  # type: ignore[call-overload]  # plain SQL


def wait_for_the_lock_to_be_taken(path: Path) -> None:
    while True:
        try:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return


def write_elsewhere(path: Path) -> None:
    """As another process would: without the lock within 10 s it raises."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("UPDATE api_key SET name = 'theirs'")

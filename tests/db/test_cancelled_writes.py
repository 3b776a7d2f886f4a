"""A write that is cancelled in the middle of a statement lets others write at once."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event, text

from imgsvc.db.engine import Sessions
from support.databases import ONLY_SQLITE

pytestmark = ONLY_SQLITE

SLOW = text("SELECT hang()")


class Hang:
    """A function of SQL that ends when it is let: a statement that is cancelled goes on in its thread."""

    def __init__(self, sessions: Sessions) -> None:
        self.begun, self.let = Event(), Event()
        event.listen(sessions.engine.sync_engine, "connect", self._install)

    def _install(self, connection: Any, _record: object) -> None:
        connection.create_function("hang", 0, self)

    def __call__(self) -> None:
        self.begun.set()
        self.let.wait(60)


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """It would free the connection in the end; an upload keeps it away for seconds."""
    gc.disable()
    yield
    gc.enable()


async def test_a_write_that_is_cancelled_in_a_statement_gives_up_the_lock(
    sessions: Sessions, database_path: Path, no_garbage_collection: None
) -> None:
    hang = Hang(sessions)

    async def write() -> None:
        async with sessions.write() as session:
            await session.exec(SLOW)  # type: ignore[call-overload]  # plain SQL

    writing = asyncio.create_task(write())
    assert await asyncio.to_thread(hang.begun.wait, 60)
    writing.cancel()
    asyncio.get_running_loop().call_later(0.1, hang.let.set)  # the connection is given up while the statement goes on
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    await asyncio.to_thread(write_elsewhere, database_path)
    async with sessions.write() as session:
        await session.exec(text("UPDATE api_key SET name = 'mine'"))  # type: ignore[call-overload]  # plain SQL


def write_elsewhere(path: Path) -> None:
    """As another process would: without the lock within 30 s it raises."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("UPDATE api_key SET name = 'theirs'")

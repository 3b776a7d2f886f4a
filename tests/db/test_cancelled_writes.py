"""A write that is cancelled during a statement does not block other writers."""

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
    """An SQL function that hangs until `released`: a cancelled statement continues in its thread."""

    def __init__(self, sessions: Sessions) -> None:
        self.begun, self.released = Event(), Event()
        event.listen(sessions.engine.sync_engine, "connect", self._install)

    def _install(self, connection: Any, _record: object) -> None:
        connection.create_function("hang", 0, self)

    def __call__(self) -> None:
        self.begun.set()
        self.released.wait(60)


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """A disabled garbage collector, which would free the connection; an upload disables it for seconds."""
    gc.disable()
    yield
    gc.enable()


async def test_a_write_cancelled_in_a_statement_releases_the_lock(
    sessions: Sessions, database_path: Path, no_garbage_collection: None
) -> None:
    hang = Hang(sessions)

    async def write() -> None:
        async with sessions.write() as session:
            await session.exec(SLOW)  # type: ignore[call-overload]  # plain SQL

    writing = asyncio.create_task(write())
    assert await asyncio.to_thread(hang.begun.wait, 60)
    writing.cancel()
    asyncio.get_running_loop().call_later(0.1, hang.released.set)  # after the connection was discarded
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    await asyncio.to_thread(write_elsewhere, database_path)
    async with sessions.write() as session:
        await session.exec(text("UPDATE api_key SET name = 'mine'"))  # type: ignore[call-overload]  # plain SQL


def write_elsewhere(path: Path) -> None:
    """Write as another process would; raise if the lock is not free within 30 s."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("UPDATE api_key SET name = 'theirs'")

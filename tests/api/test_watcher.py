"""The watcher lives on, whatever a look at the database brings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import update
from sqlmodel import col

from imgsvc.api.live.watcher import Watcher
from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.errors import NotFound
from support.batches import submit_batch
from support.verbs import ended_batch


class Stumbling(Sessions):
    """Sessions whose first look breaks in a way that nobody foresaw."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.looks = 0

    def read(self):  # type: ignore[no-untyped-def]  # a context manager
        self.looks += 1
        if self.looks == 1:
            raise ZeroDivisionError
        return self._sessions.read()


@asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[Watcher]:
    task = asyncio.create_task(watcher.run())
    yield watcher
    task.cancel()


async def test_an_end_that_is_older_than_what_is_known_is_no_news(resources: Resources) -> None:
    """Another round has begun since."""
    batch = await ended_batch(resources, None)
    async with running(Watcher(resources.sessions)) as watcher, asyncio.timeout(20):
        assert await watcher.wait(batch.id, newer_than=batch.version + 2, timeout=0.6) is None
        seen = await watcher.wait(batch.id, newer_than=batch.version - 1, timeout=10)
    assert seen
    assert (seen.version, seen.status) == (batch.version, "completed")


@pytest.mark.parametrize("newer_than", [None, 1])
async def test_whoever_waits_for_a_batch_that_is_deleted_is_told_at_once(
    resources: Resources, newer_than: int | None
) -> None:
    batch = await submit_batch(resources, ["https://shop.example/a.jpg"])
    async with running(Watcher(resources.sessions)) as watcher, asyncio.timeout(20):
        waiting = asyncio.create_task(watcher.wait(batch.id, newer_than=newer_than, timeout=60))
        await asyncio.sleep(0)
        async with resources.sessions.write() as session:
            gone = update(Batch).where(col(Batch.id) == batch.id).values(deleted_at=resources.clock())
            await session.exec(gone)
        with pytest.raises(NotFound, match="deleted"):
            await waiting


async def test_after_a_look_that_broke_it_looks_again(resources: Resources) -> None:
    batch = await ended_batch(resources, None)
    sessions = Stumbling(resources.sessions)
    watcher = Watcher(sessions)
    running = asyncio.create_task(watcher.run())
    async with asyncio.timeout(10):
        await watcher.wait(batch.id, newer_than=None, timeout=60)
    assert sessions.looks == 2
    running.cancel()

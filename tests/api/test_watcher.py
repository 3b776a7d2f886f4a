"""The watcher: updates, deleted batches, and failed polls."""

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


class FailingOnce(Sessions):
    """Sessions whose first read fails unexpectedly."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.reads = 0

    def read(self):  # type: ignore[no-untyped-def]  # a context manager
        self.reads += 1
        if self.reads == 1:
            raise ZeroDivisionError
        return self._sessions.read()


@asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[Watcher]:
    task = asyncio.create_task(watcher.run())
    yield watcher
    task.cancel()


async def test_a_batch_older_than_the_given_version_is_not_an_update(resources: Resources) -> None:
    """The given version belongs to a later round."""
    batch = await ended_batch(resources, None)
    async with running(Watcher(resources.sessions)) as watcher, asyncio.timeout(20):
        assert await watcher.wait(batch.id, newer_than=batch.version + 2, timeout=0.6) is None
        progress = await watcher.wait(batch.id, newer_than=batch.version - 1, timeout=10)
    assert progress
    assert (progress.version, progress.status) == (batch.version, "completed")


@pytest.mark.parametrize("newer_than", [None, 1])
async def test_waiting_for_a_batch_fails_when_it_is_deleted(resources: Resources, newer_than: int | None) -> None:
    batch = await submit_batch(resources, ["https://shop.example/a.jpg"])
    async with running(Watcher(resources.sessions)) as watcher, asyncio.timeout(20):
        waiting = asyncio.create_task(watcher.wait(batch.id, newer_than=newer_than, timeout=60))
        await asyncio.sleep(0)
        async with resources.sessions.write() as session:
            deletion = update(Batch).where(col(Batch.id) == batch.id).values(deleted_at=resources.clock())
            await session.exec(deletion)
        with pytest.raises(NotFound, match="deleted"):
            await waiting


async def test_a_failed_poll_does_not_stop_the_watcher(resources: Resources) -> None:
    batch = await ended_batch(resources, None)
    sessions = FailingOnce(resources.sessions)
    watcher = Watcher(sessions)
    running = asyncio.create_task(watcher.run())
    async with asyncio.timeout(10):
        await watcher.wait(batch.id, newer_than=None, timeout=60)
    assert sessions.reads == 2
    running.cancel()

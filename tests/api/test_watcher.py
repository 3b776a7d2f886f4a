"""The watcher lives on, whatever a look at the database brings."""

import asyncio

from imgsvc.api.watcher import Watcher
from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from verbs_at_hand import ended


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


async def test_after_a_look_that_broke_it_looks_again(resources: Resources) -> None:
    batch = await ended(resources, None)
    sessions = Stumbling(resources.sessions)
    watcher = Watcher(sessions)
    running = asyncio.create_task(watcher.run())
    async with asyncio.timeout(10):
        await watcher.wait(batch.id, known=None, timeout=60)
    assert sessions.looks == 2
    running.cancel()

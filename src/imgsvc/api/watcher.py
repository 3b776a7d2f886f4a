"""Tells waiting requests when a batch has changed: one SELECT for all of them, a few times a second."""

import asyncio
from collections import Counter
from contextlib import suppress

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.domain.status import FINISHED_BATCH
from imgsvc.errors import DatabaseUnavailable
from imgsvc.logs import get_logger

log = get_logger(__name__)

INTERVAL = 0.25
"""Seconds between two looks."""
_FINISHED = frozenset(FINISHED_BATCH)


class Watcher:
    """Watches the batches that somebody waits for, and only while somebody does."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._watched: Counter[str] = Counter()
        self._seen: dict[str, tuple[int, str]] = {}
        self._looked = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._closing = False

    async def wait(self, batch_id: str, *, known: int | None, timeout: float) -> None:  # noqa: ASYNC109  # a long poll's
        """Return when the batch is finished, its version is above `known` (None: any), or `timeout` seconds passed.

        Or when the process is asked to stop: whoever waits asks again, and gets the next one.
        """
        self._watched[batch_id] += 1
        self._wanted.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout), self._looked:
                    await self._looked.wait_for(lambda: self._is_news(batch_id, known))
        finally:
            self._watched[batch_id] -= 1
            if not self._watched[batch_id]:
                del self._watched[batch_id]
                self._seen.pop(batch_id, None)

    def _is_news(self, batch_id: str, known: int | None) -> bool:
        if self._closing:
            return True
        if batch_id not in self._seen:
            return False
        version, status = self._seen[batch_id]
        return status in _FINISHED or (known is not None and version > known)

    async def run(self) -> None:
        """Look for as long as the process lives."""
        while True:
            await self._wanted.wait()
            try:
                await self._look()
            except DatabaseUnavailable:
                pass  # those who wait time out, and are told by their own read
            except Exception:  # the top of a task that nobody waits for: without it every long poll would be a long one
                log.exception("look_broke")
            if not self._watched:
                self._wanted.clear()
            await asyncio.sleep(INTERVAL)

    async def close(self) -> None:
        """Let everybody go who waits, or comes to wait."""
        async with self._looked:
            self._closing = True
            self._looked.notify_all()

    async def _look(self) -> None:
        async with self._sessions.read() as session:
            seen = await batches.versions(session, list(self._watched))
        async with self._looked:
            self._seen = seen
            self._looked.notify_all()

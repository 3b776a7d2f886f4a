"""Tells waiting requests how far a batch is: one SELECT for all of them, a few times a second."""

import asyncio
from collections import Counter
from contextlib import suppress

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.db.queries.batches import BatchProgress
from imgsvc.domain.status import FINISHED_BATCH
from imgsvc.errors import DatabaseUnavailable, NotFound
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
        self._seen: dict[str, BatchProgress] = {}
        self._gone: set[str] = set()
        self._looked = asyncio.Condition()
        self._wanted = asyncio.Event()
        self.is_closing = False

    async def wait(
        self,
        batch_id: str,
        *,
        known: int | None,
        timeout: float,  # noqa: ASYNC109  # a long poll's
    ) -> BatchProgress | None:
        """The batch as soon as its version is above `known`, or, where that is None, it is finished.

        None after `timeout` seconds, and when the process is asked to stop: whoever waits asks again, and gets the next
        one.

        Raises:
            NotFound: the batch was deleted meanwhile.
        """
        self._watched[batch_id] += 1
        self._wanted.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout), self._looked:
                    await self._looked.wait_for(
                        lambda: self.is_closing or batch_id in self._gone or self._is_news(batch_id, known)
                    )
                    if batch_id in self._gone:
                        raise NotFound(f"Batch {batch_id} was deleted.")
                    return self._seen[batch_id] if self._is_news(batch_id, known) else None
            return None
        finally:
            self._watched[batch_id] -= 1
            if not self._watched[batch_id]:
                del self._watched[batch_id]
                self._seen.pop(batch_id, None)
                self._gone.discard(batch_id)

    def _is_news(self, batch_id: str, known: int | None) -> bool:
        seen = self._seen.get(batch_id)
        if seen is None:
            return False
        return seen.status in _FINISHED if known is None else seen.version > known

    async def run(self) -> None:
        """Look for as long as the process lives."""
        while True:
            await self._wanted.wait()
            try:
                await self._look()
            except DatabaseUnavailable:
                pass  # those who wait time out, and are told by their own read
            except Exception:  # the top of a task that nobody waits for: without it every long poll would be a long one
                log.exception("watcher_failed")
            if not self._watched:
                self._wanted.clear()
            await asyncio.sleep(INTERVAL)

    async def close(self) -> None:
        """Let everybody go who waits, or comes to wait."""
        async with self._looked:
            self.is_closing = True
            self._looked.notify_all()

    async def _look(self) -> None:
        asked = list(self._watched)
        async with self._sessions.read() as session:
            seen = await batches.progress(session, asked)
        async with self._looked:
            # Somebody may have left meanwhile, and come back after another round has begun: what was seen is old then.
            self._seen = {batch_id: row for batch_id, row in seen.items() if batch_id in self._watched}
            self._gone = {batch_id for batch_id in asked if batch_id not in seen} & set(self._watched)
            self._looked.notify_all()

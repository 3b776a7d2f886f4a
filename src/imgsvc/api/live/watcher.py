"""Notifies waiting requests of a batch's progress: one SELECT for all of them, a few times a second."""

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

POLL_INTERVAL = 0.25
"""Seconds between two SELECTs."""
_FINISHED = frozenset(FINISHED_BATCH)


class Watcher:
    """Polls the batches that requests wait for, and only while any request waits."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiters: Counter[str] = Counter()
        self._latest: dict[str, BatchProgress] = {}
        self._deleted: set[str] = set()
        self._polled = asyncio.Condition()
        self._wake_up = asyncio.Event()
        self.is_closing = False

    @property
    def has_waiters(self) -> bool:
        """True while any request waits."""
        return bool(self._waiters)

    async def wait(
        self,
        batch_id: str,
        *,
        newer_than: int | None,
        timeout: float,  # noqa: ASYNC109  # a long poll's
    ) -> BatchProgress | None:
        """Return the batch once its version is above `newer_than` or, if that is None, once it is finished.

        Return None after `timeout` seconds, and when the process is asked to stop: the client asks again, and reaches
        the next process.

        Raises:
            NotFound: the batch was deleted during the wait.
        """
        self._waiters[batch_id] += 1
        self._wake_up.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout), self._polled:
                    await self._polled.wait_for(
                        lambda: self.is_closing or batch_id in self._deleted or self._has_update(batch_id, newer_than)
                    )
                    if batch_id in self._deleted:
                        raise NotFound(f"Batch {batch_id} was deleted.")
                    return self._latest[batch_id] if self._has_update(batch_id, newer_than) else None
            return None
        finally:
            self._waiters[batch_id] -= 1
            if not self._waiters[batch_id]:
                del self._waiters[batch_id]
                self._latest.pop(batch_id, None)
                self._deleted.discard(batch_id)

    def _has_update(self, batch_id: str, newer_than: int | None) -> bool:
        latest = self._latest.get(batch_id)
        if latest is None:
            return False
        return latest.status in _FINISHED if newer_than is None else latest.version > newer_than

    async def run(self) -> None:
        """Poll until the process ends."""
        while True:
            await self._wake_up.wait()
            try:
                await self._poll()
            except DatabaseUnavailable:
                pass  # the waiting requests time out, and their own read then raises the error
            except Exception:  # nothing awaits this task: if it ended here, every long poll would run into its timeout
                log.exception("watcher_failed")
            if not self._waiters:
                self._wake_up.clear()
            await asyncio.sleep(POLL_INTERVAL)

    async def close(self) -> None:
        """Release all current and future waiters."""
        async with self._polled:
            self.is_closing = True
            self._polled.notify_all()

    async def _poll(self) -> None:
        batch_ids = list(self._waiters)
        async with self._sessions.read() as session:
            found = await batches.progress(session, batch_ids)
        async with self._polled:
            # Batches without waiters are dropped: a waiter that comes later, say after a retry, must not get old state.
            self._latest = {batch_id: row for batch_id, row in found.items() if batch_id in self._waiters}
            self._deleted = {batch_id for batch_id in batch_ids if batch_id not in found} & set(self._waiters)
            self._polled.notify_all()

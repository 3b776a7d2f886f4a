"""The sweeps: repeat wake-up calls that may have been lost. The database records what is due; Redis may lose calls.

There is one for lanes, one for deliveries and one for clean-ups, so that none waits for another.
"""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, deletions, deliveries, idempotency
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue

log = get_logger(__name__)

_PAGE = 1_000
_MAX_PAGES = 50
"""A sweep of 50,000 open batches takes a few seconds; the next one continues."""


class LaneSweep:
    """Wakes the first lane of every open batch; each run continues where the last one stopped.

    The lane finds out whether anything is due; if not, it schedules its next run. So a sweep reads no assets.
    """

    def __init__(self, *, page: int = _PAGE, max_pages: int = _MAX_PAGES) -> None:
        self._page = page
        self._max_pages = max_pages
        self._after = ""

    async def run(self, *, sessions: Sessions, queue: JobQueue) -> None:
        """Wake the next open batches, oldest first. Lanes that are queued, scheduled or running are not affected.

        Raises:
            DatabaseUnavailable, QueueUnavailable: the next sweep retries.
        """
        for _ in range(self._max_pages):
            async with sessions.read() as session:
                found = await batches.open_page(session, after=self._after, limit=self._page)
            if found:
                await queue.wake_lanes(found)
            if len(found) < self._page:
                self._after = ""
                return
            self._after = found[-1][0]


async def wake_deliveries(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Wake the deliveries that are due.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep retries.
    """
    async with sessions.read() as session:
        due = await deliveries.due(session, clock())
    for delivery_id, attempts in due:
        await queue.wake_delivery(delivery_id, attempt=attempts + 1)


async def wake_changes(*, sessions: Sessions, queue: JobQueue) -> None:
    """Wake the changes in progress: the process that began one may have ended.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep retries.
    """
    async with sessions.read() as session:
        changing = await batches.changing(session)
    for batch_id in changing:
        await queue.wake_change(batch_id)


async def wake_clean_ups(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Wake the clean-ups that are due.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep retries.
    """
    async with sessions.read() as session:
        due = await deletions.due_for_clean_up(session, clock())
    for batch_id in due:
        await queue.wake_clean_up(batch_id)


async def expire_batches(*, sessions: Sessions, clock: Clock) -> None:
    """Delete the batches whose retention is over, and the idempotency keys that have expired.

    Raises:
        DatabaseUnavailable: the next sweep retries.
    """
    now = clock()
    async with sessions.read() as session:
        expired = await deletions.expired(session, now)
        any_expired_key = await idempotency.any_created_until(session, now - idempotency.KEY_TTL)
    if not expired and not any_expired_key:  # the usual case: do not take the write lock
        return
    async with sessions.write() as session:
        expired = await deletions.expired(session, now)  # read again: a batch may have been retried since
        deleted = await deletions.soft_delete(session, expired, now)
        await idempotency.delete_created_until(session, now - idempotency.KEY_TTL)
    log.info("batches_expired", batches=deleted)

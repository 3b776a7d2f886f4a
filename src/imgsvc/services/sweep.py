"""The sweep: repeats wake-up calls that may have been lost. The database records what is due; Redis may lose calls."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, deletions, deliveries, idempotency
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.ports import JobQueue

log = get_logger(__name__)


async def wake_due_work(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Wake the lanes of every batch with due assets, and every delivery and clean-up that is due,
    and every change in progress.

    Jobs that are already running are not affected.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep retries.
    """
    now = clock()
    async with sessions.read() as session:
        due_batches = await batches.with_due_assets(session, now)
        due_deliveries = await deliveries.due(session, now)
        changing = await batches.changing(session)
        due_clean_ups = await deletions.due_for_clean_up(session, now)
    for batch_id in due_batches:
        await queue.wake_lanes(batch_id)
    for delivery_id, attempts in due_deliveries:
        await queue.wake_delivery(delivery_id, attempt=attempts + 1)
    for batch_id in changing:
        await queue.wake_change(batch_id)
    for batch_id in due_clean_ups:
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

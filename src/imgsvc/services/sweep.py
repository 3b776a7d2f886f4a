"""The sweep makes every wake-up call again that may be lost: the database knows what is due, Redis may forget."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, deletions, deliveries, idempotency
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.ports import JobQueue

log = get_logger(__name__)


async def wake_due_work(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Wake the lanes of every batch with due assets, every delivery and every removal that is due; what runs already is
    left alone.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep will do it.
    """
    now = clock()
    async with sessions.read() as session:
        due_batches = await batches.with_due_assets(session, now)
        due_deliveries = await deliveries.due(session, now)
        not_cleaned_up = await deletions.due_for_clean_up(session, now)
    for batch_id in due_batches:
        await queue.wake_lanes(batch_id)
    for delivery_id, attempts in due_deliveries:
        await queue.wake_delivery(delivery_id, attempt=attempts + 1)
    for batch_id in not_cleaned_up:
        await queue.wake_clean_up(batch_id)


async def expire_batches(*, sessions: Sessions, clock: Clock) -> None:
    """Delete the batches whose retention is over, and forget idempotency keys that are too old to count.

    Raises:
        DatabaseUnavailable: the next sweep will do it.
    """
    now = clock()
    async with sessions.read() as session:
        expired = await deletions.expired(session, now)
        outdated = await idempotency.any_created_by(session, now - idempotency.KEY_TTL)
    if not expired and not outdated:  # nearly always: no write lock for nothing
        return
    async with sessions.write() as session:
        expired = await deletions.expired(session, now)  # one may have been retried meanwhile
        hidden = await deletions.soft_delete(session, expired, now)
        await idempotency.delete_created_by(session, now - idempotency.KEY_TTL)
    log.info("batches_expired", batches=hidden)

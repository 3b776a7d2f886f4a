"""The sweep makes every wake-up call again that may be lost: the database knows what is due, Redis may forget."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, deliveries
from imgsvc.services.clock import Clock
from imgsvc.services.ports import JobQueue


async def sweep(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Wake the lanes of every batch with due assets, and every delivery that is due; what runs already is left alone.

    Raises:
        DatabaseUnavailable, QueueUnavailable: the next sweep will do it.
    """
    async with sessions.read() as session:
        due_batches = await batches.with_due_assets(session, clock())
        due_deliveries = await deliveries.due(session, clock())
    for batch_id in due_batches:
        await queue.wake_lanes(batch_id)
    for delivery_id, attempts in due_deliveries:
        await queue.wake_delivery(delivery_id, attempt=attempts + 1)

"""Cancel a batch: its unfinished assets end at once, even those being processed."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchFinished, Cancelled, NotFound
from imgsvc.services.batches.finish import Retention, announce, finish_batch
from imgsvc.services.clock import Clock
from imgsvc.services.ports import JobQueue


async def cancel_batch(
    batch_id: str, *, api_key_id: str, sessions: Sessions, queue: JobQueue, retention: Retention, clock: Clock
) -> None:
    """Cancel every open asset and end the batch in one transaction; finished assets keep their results.

    Lanes notice at their next flush: their claims are gone, so their outcomes are not written.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchFinished: the batch has already ended.
    """
    async with sessions.write() as session:
        counters = await batches.lock(session, batch_id, api_key_id=api_key_id)
        if counters is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if counters.status not in OPEN_BATCH:
            raise BatchFinished(f"Batch {batch_id} has ended: it is {counters.status}.")
        now = clock()
        cancelled = await assets.cancel_open(session, batch_id, code=Cancelled.code, detail=Cancelled.sentence, now=now)
        counters.cancelled += cancelled
        counters.processing = 0
        await batches.save_counters(session, batch_id, counters)
        ended = await finish_batch(session, batch_id, counters, retention=retention, now=now)
    if ended:
        await announce(ended, queue=queue)

"""Cancel a batch: its unfinished assets end at once, even those being processed."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, counters
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchFinished, NotFound
from imgsvc.services.batches.change import CANCEL, CHANGE_TIMEOUT, change_for_request
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue


async def cancel_batch(
    batch_id: str,
    *,
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    retention: Retention,
    clock: Clock,
    time_limit: float = CHANGE_TIMEOUT,
) -> None:
    """Cancel every open asset and end the batch; finished assets keep their results.

    The caller waits up to `time_limit` seconds for the end of a large batch; a job cancels the rest of its assets.

    Lanes notice at their next flush: from the first transaction on, nothing of theirs is written.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchFinished: the batch has already ended.
    """
    async with sessions.write() as session:
        batch = await counters.lock(session, batch_id, api_key_id=api_key_id)
        if batch is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if batch.status not in OPEN_BATCH:
            raise BatchFinished(f"Batch {batch_id} has ended: it is {batch.status}.")
        await batches.begin_change(session, batch_id, CANCEL)
    await change_for_request(
        batch_id, sessions=sessions, queue=queue, retention=retention, clock=clock, time_limit=time_limit
    )

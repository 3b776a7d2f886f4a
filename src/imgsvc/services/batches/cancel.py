"""Cancel a batch: its unfinished assets end at once, even those being processed."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, counters
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchFinished, NotFound
from imgsvc.services.batches.change import CANCEL


async def begin_cancel(batch_id: str, *, api_key_id: str, sessions: Sessions) -> None:
    """Record that every open asset is cancelled and the batch ends; finished assets keep their results.

    Lanes notice at their next flush: from this transaction on, nothing of theirs is written. Then call
    `change_for_request`.

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

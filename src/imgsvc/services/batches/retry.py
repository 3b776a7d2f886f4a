"""Retry a batch: a new round for the assets that failed."""

from collections import Counter
from collections.abc import Collection

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches
from imgsvc.domain.status import BATCH_MOVES, OPEN_BATCH, BatchStatus
from imgsvc.errors import BatchNotFinished, InvalidUrl, NotFound, NothingToRetry
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import Clock
from imgsvc.services.ports import JobQueue
from imgsvc.services.wakeups import wake_lane

NOT_RETRIED = (InvalidUrl.code,)
"""Error codes that a retry cannot change."""


async def retry_batch(
    batch_id: str,
    *,
    codes: Collection[str],
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    retention: Retention,
    clock: Clock,
) -> None:
    """Start a new round: move the batch and its failed assets (empty `codes`: all of them) back to pending.

    The new round ends with its own event.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchNotFinished: the current round has not ended.
        NothingToRetry: no asset failed with one of `codes`, or the batch was cancelled, which is final.
    """
    async with sessions.write() as session:
        counters = await batches.lock(session, batch_id, api_key_id=api_key_id)
        if counters is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if counters.status in OPEN_BATCH:
            raise BatchNotFinished(f"Batch {batch_id} is still {counters.status}; retry it when it has ended.")
        failures = await assets.count_failures(session, batch_id, codes=codes, exclude=NOT_RETRIED)
        if counters.status not in BATCH_MOVES[BatchStatus.PENDING] or not failures:
            requested = f" (codes: {', '.join(sorted(codes))})" if codes else ""
            raise NothingToRetry(f"Batch {batch_id} is {counters.status}: no image can be retried{requested}.")
        now = clock()
        await assets.reset_failed(session, batch_id, codes=codes, exclude=NOT_RETRIED, now=now)
        counters.failed -= sum(failures.values())
        counters.errors = dict(Counter(counters.errors) - Counter(failures))
        await batches.save_counters(session, batch_id, counters)
        dates = {"finished_at": None, "tidy_at": None, "expires_at": retention.expiry(now)}
        await batches.move(session, batch_id, BatchStatus.PENDING, round=counters.round + 1, **dates)
    await wake_lane(batch_id, api_key_id, queue=queue)

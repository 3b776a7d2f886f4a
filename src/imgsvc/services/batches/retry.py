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
from imgsvc.services.wakeups import wake_lanes

NEVER = (InvalidUrl.code,)
"""Codes that no retry changes."""


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
    """Begin a new round: failed assets (empty `codes`: all) are pending again, and so is the batch.

    The new round ends with an event of its own.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchNotFinished: the round before still runs.
        NothingToRetry: no asset failed with one of `codes`; or the batch was cancelled, which is for good.
    """
    async with sessions.write() as session:
        counters = await batches.lock(session, batch_id, api_key_id=api_key_id)
        if counters is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if counters.status in OPEN_BATCH:
            raise BatchNotFinished(f"Batch {batch_id} is still {counters.status}; retry it when it has ended.")
        failures = await assets.failures(session, batch_id, codes=codes, but=NEVER)
        if counters.status not in BATCH_MOVES[BatchStatus.PENDING] or not failures:
            raise NothingToRetry(f"Batch {batch_id} is {counters.status}: no image of it can be retried{_of(codes)}.")
        now = clock()
        await assets.reset_failed(session, batch_id, codes=codes, but=NEVER, now=now)
        counters.failed -= sum(failures.values())
        counters.errors = dict(Counter(counters.errors) - Counter(failures))
        await batches.save_counters(session, batch_id, counters)
        dates = {"finished_at": None, "tidy_at": None, "expires_at": retention.expiry(now)}
        await batches.move(session, batch_id, BatchStatus.PENDING, round=counters.round + 1, **dates)
    await wake_lanes(batch_id, queue=queue)


def _of(codes: Collection[str]) -> str:
    return f" (asked for: {', '.join(sorted(codes))})" if codes else ""

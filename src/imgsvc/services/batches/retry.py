"""Retry a batch: a new round for the assets that failed."""

from collections.abc import Collection

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.db.queries import counters as counter_queries
from imgsvc.domain.status import BATCH_MOVES, OPEN_BATCH, BatchStatus
from imgsvc.errors import BatchNotFinished, NotFound, NothingToRetry
from imgsvc.services.batches.change import CHANGE_TIMEOUT, NOT_RETRIED, change_for_request, retry_of
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue


async def retry_batch(
    batch_id: str,
    *,
    codes: Collection[str],
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    retention: Retention,
    clock: Clock,
    time_limit: float = CHANGE_TIMEOUT,
) -> None:
    """Start a new round: move the batch and its failed assets (empty `codes`: all of them) back to pending.

    The caller waits up to `time_limit` seconds for the assets of a large batch; a job moves the rest.

    The new round ends with its own event.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchNotFinished: the current round has not ended.
        NothingToRetry: no asset failed with one of `codes`, or the batch was cancelled, which is final.
    """
    async with sessions.write() as session:
        counters = await counter_queries.lock(session, batch_id, api_key_id=api_key_id)
        if counters is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if counters.status in OPEN_BATCH:
            raise BatchNotFinished(f"Batch {batch_id} is still {counters.status}; retry it when it has ended.")
        failed_with = counters.errors.keys() & (set(codes) or counters.errors.keys()) - set(NOT_RETRIED)
        if counters.status not in BATCH_MOVES[BatchStatus.PENDING] or not failed_with:
            requested = f" (codes: {', '.join(sorted(codes))})" if codes else ""
            raise NothingToRetry(f"Batch {batch_id} is {counters.status}: no image can be retried{requested}.")
        now = clock()
        await batches.begin_change(session, batch_id, retry_of(codes))
        dates = {"round_started_at": now, "finished_at": None, "tidy_at": None, "expires_at": retention.expiry(now)}
        await batches.move(session, batch_id, BatchStatus.PENDING, round=counters.round + 1, **dates)
    await change_for_request(
        batch_id, sessions=sessions, queue=queue, retention=retention, clock=clock, time_limit=time_limit
    )

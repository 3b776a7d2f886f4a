"""Retry a batch: a new round for the assets that failed."""

from collections.abc import Collection

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.db.queries import counters as counter_queries
from imgsvc.domain.status import BATCH_MOVES, OPEN_BATCH, BatchStatus
from imgsvc.errors import BatchNotFinished, NotFound, NothingToRetry
from imgsvc.services.batches.change import NOT_RETRIED, retry_of
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import Clock


async def begin_retry(
    batch_id: str,
    *,
    codes: Collection[str],
    api_key_id: str,
    sessions: Sessions,
    retention: Retention,
    clock: Clock,
) -> None:
    """Start a new round, and record that the failed assets (empty `codes`: all of them) go back to pending.

    The new round ends with its own event. Then call `change_for_request`.

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
        later = {"round": counters.round + 1, "changes": None}
        await batches.move(session, batch_id, BatchStatus.PENDING, **later, **dates)

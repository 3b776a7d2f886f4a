"""Change all assets of a batch, a page at a time: cancelling or retrying a million takes many transactions.

The batch records the change first. From then on lanes write nothing to it, whichever process applies the pages.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import datetime

import stamina
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import plan_on_indexes
from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches
from imgsvc.db.queries import counters as counter_queries
from imgsvc.db.queries.counters import CounterDeltas, Counters
from imgsvc.db.queries.versions import COMPARE
from imgsvc.db.tables import Batch
from imgsvc.errors import Cancelled, DatabaseUnavailable, InvalidUrl
from imgsvc.logs import get_logger
from imgsvc.services.batches.finish import Retention, announce, finish_batch
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.wakeups import wake_change, wake_lane

log = get_logger(__name__)

PAGE = 1_000
"""Positions per transaction."""
CHANGE_TIMEOUT = 5.0
"""Seconds that a request waits for the change before a job continues with it."""
CANCEL = "cancel"
RETRY = "retry"
NOT_RETRIED = (InvalidUrl.code,)
"""Error codes that a retry cannot change."""


def retry_of(codes: Collection[str]) -> str:
    """Return the change that resets the assets that failed with one of `codes` (empty: with any)."""
    return " ".join((RETRY, *sorted(codes)))


async def change_for_request(
    batch_id: str,
    *,
    sessions: Sessions,
    queue: JobQueue,
    retention: Retention,
    clock: Clock,
    time_limit: float = CHANGE_TIMEOUT,
) -> None:
    """Apply the recorded change for up to `time_limit` seconds; a job applies the rest."""
    try:
        async with asyncio.timeout(time_limit):
            await apply_change(batch_id, sessions=sessions, queue=queue, retention=retention, clock=clock)
    except (TimeoutError, DatabaseUnavailable) as error:
        log.info("change_deferred", batch_id=batch_id, reason=str(error) or type(error).__name__)
        await wake_change(batch_id, queue=queue)


async def apply_change(
    batch_id: str, *, sessions: Sessions, queue: JobQueue, retention: Retention, clock: Clock
) -> None:
    """Apply the cancellation or retry that is recorded for the batch, if any. Idempotent, and safe to run concurrently.

    Raises:
        DatabaseUnavailable: the sweep wakes another job.
    """
    async with sessions.read() as session:
        batch = await batches.get(session, batch_id)
    if batch is None or batch.change in (None, COMPARE):
        return
    ended = None
    for start in range(0, batch.asset_count, PAGE):
        window = range(start, start + PAGE)
        async for attempt in stamina.retry_context(on=DatabaseUnavailable, attempts=3, wait_initial=0.2):
            with attempt:
                async with sessions.write() as session:
                    counters = await _apply_to(session, batch, window, now=clock())
                    if counters is None:  # superseded, or applied to the end by another process
                        return
                    if counters.open == 0 and batch.change == CANCEL:
                        ended = await finish_batch(session, batch_id, counters, retention=retention, now=clock())
        if ended:
            await announce(ended, queue=queue)
            return
    if batch.change == CANCEL:
        return
    async with sessions.write() as session:
        await batches.end_change(session, batch_id, batch.change)
    await wake_lane(batch_id, batch.api_key_id, queue=queue)


async def _apply_to(session: AsyncSession, batch: Batch, window: range, *, now: datetime) -> Counters | None:
    """Change the assets at the positions of `window`; None when the change is not the batch's any more."""
    await plan_on_indexes(session)
    if batch.change == CANCEL:
        code, detail = Cancelled.code, Cancelled.sentence
        moved = await assets.cancel_open(session, batch.id, window, code=code, detail=detail, now=now)
        deltas = CounterDeltas(cancelled=moved.assets, processing=-moved.processing)
    else:
        _, *codes = str(batch.change).split()
        moved = await assets.reset_failed(session, batch.id, window, codes=codes, exclude=NOT_RETRIED, now=now)
        deltas = CounterDeltas(failed=-moved.assets, errors=Counter({code: -n for code, n in moved.errors.items()}))
    return await counter_queries.add(session, batch.id, deltas, round_number=batch.round, change=batch.change)

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
from imgsvc.services.batches.finish import EndedBatch, Retention, announce, finish_batch
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


class _Superseded(Exception):  # not an error: it undoes the transaction
    """The change is not the batch's any more: another process applied it to the end, or another change replaced it."""


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
    try:
        ended = await _apply_pages(batch, sessions=sessions, retention=retention, clock=clock)
    except _Superseded:
        return
    if ended:
        await announce(ended, queue=queue)
    elif batch.change != CANCEL:
        async with sessions.write() as session:
            await batches.end_change(session, batch_id, batch.change, round_number=batch.round)
        await wake_lane(batch_id, batch.api_key_id, queue=queue)


async def _apply_pages(batch: Batch, *, sessions: Sessions, retention: Retention, clock: Clock) -> EndedBatch | None:
    """Change the assets page by page; return the end of the batch if that was a cancellation's last open asset."""
    for start in range(0, batch.asset_count, PAGE):
        window = range(start, start + PAGE)
        async for attempt in stamina.retry_context(on=DatabaseUnavailable, attempts=3, wait_initial=0.2):
            with attempt:
                async with sessions.write() as session:
                    counters = await _apply_to(session, batch, window, now=clock())
                    if counters.open == 0 and batch.change == CANCEL:
                        return await finish_batch(session, batch.id, counters, retention=retention, now=clock())
    return None


async def _apply_to(session: AsyncSession, batch: Batch, window: range, *, now: datetime) -> Counters:
    """Change the assets at the positions of `window`.

    Raises:
        _Superseded: the change is not the batch's any more. The assets may have moved by then, so nothing is committed.
    """
    await plan_on_indexes(session)
    if batch.change == CANCEL:
        code, detail = Cancelled.code, Cancelled.sentence
        moved = await assets.cancel_open(session, batch.id, window, code=code, detail=detail, now=now)
        deltas = CounterDeltas(cancelled=moved.assets, processing=-moved.processing)
    else:
        _, *codes = str(batch.change).split()
        moved = await assets.reset_failed(session, batch.id, window, codes=codes, exclude=NOT_RETRIED, now=now)
        deltas = CounterDeltas(failed=-moved.assets, errors=Counter({code: -n for code, n in moved.errors.items()}))
    counters = await counter_queries.add(session, batch.id, deltas, round_number=batch.round, change=batch.change)
    if counters is None:
        raise _Superseded
    return counters

"""A flush: in one transaction, write how assets ended, move the batch's counters, claim the next, finish the batch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import stamina
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries.assets import Claimed
from imgsvc.db.queries.batches import Counters
from imgsvc.domain.status import OPEN_BATCH, BatchStatus
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.clock import Clock
from imgsvc.services.finishing import Ended, finish
from imgsvc.services.links import Links
from imgsvc.services.outcomes import Failed, Outcome, Postponed, Succeeded, columns


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush did: the assets it claimed, whether more are due, and the end of the batch if it brought it."""

    claimed: Sequence[Claimed]
    more_due: bool
    ended: Ended | None


@stamina.retry(on=DatabaseUnavailable, attempts=5, wait_initial=0.2, wait_max=3, timeout=20)
async def flush(
    batch_id: str,
    outcomes: Sequence[Outcome],
    *,
    token: str,
    claim: int,
    lease: timedelta,
    sessions: Sessions,
    links: Links,
    clock: Clock,
) -> Flushed | None:
    """Write `outcomes` of the run `token` and claim up to `claim` assets; None when the batch is no longer open.

    Repeating it is harmless: only assets that still carry the token move, and the counters move by exactly those.

    Raises:
        DatabaseUnavailable: five times in a row.
    """
    async with sessions.write() as session:
        counters = await batch_queries.lock(session, batch_id)
        if counters is None or counters.status not in OPEN_BATCH:
            return None
        now = clock()
        settled = await _settle(session, batch_id, outcomes, token=token, counters=counters, clock=clock)
        claims = await asset_queries.claim(session, batch_id, token=token, now=now, until=now + lease, limit=claim)
        counters.processing += claims.were_pending
        if settled or claims.assets:
            await batch_queries.save_counters(session, batch_id, counters)
        if claims.assets:
            await batch_queries.move(session, batch_id, BatchStatus.PROCESSING, started_at=now)
        ended = await finish(session, batch_id, counters, links=links, now=now) if counters.open == 0 else None
        more_due = counters.open > 0 and await asset_queries.any_due(session, batch_id, now)
    return Flushed(claims.assets, more_due, ended)


async def _settle(
    session: AsyncSession, batch_id: str, outcomes: Sequence[Outcome], *, token: str, counters: Counters, clock: Clock
) -> int:
    """Write the outcomes that are still ours; returns how many."""
    if not outcomes:
        return 0
    positions = [outcome.asset.position for outcome in outcomes]
    ours = await asset_queries.still_claimed(session, batch_id, token, positions)
    moved = [outcome for outcome in outcomes if outcome.asset.position in ours]
    if moved:
        now = clock()
        await asset_queries.settle(session, batch_id, [columns(outcome, now) for outcome in moved])
        _count(counters, moved)
    return len(moved)


def _count(counters: Counters, moved: Sequence[Outcome]) -> None:
    errors: Counter[str] = Counter(counters.errors)
    for outcome in moved:
        counters.processing -= 1
        match outcome:
            case Succeeded():
                counters.succeeded += 1
                counters.input_bytes += outcome.input_bytes
                counters.output_bytes += outcome.output_bytes
            case Failed():
                counters.failed += 1
                errors[outcome.error.code] += 1
            case Postponed():
                pass
    counters.errors = dict(errors)

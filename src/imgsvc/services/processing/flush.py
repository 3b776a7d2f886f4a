"""A flush: one transaction that writes outcomes, moves the batch's counters, claims assets and finishes the batch."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import stamina
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries import leases as queries
from imgsvc.db.queries import reuse as reuse_queries
from imgsvc.db.queries.batches import Counters
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.status import OPEN_BATCH, BatchStatus
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.batches.finish import EndedBatch, Retention, finish_batch
from imgsvc.services.clock import Clock
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.processing.rendition_plan import ReuseHashes


@dataclass(frozen=True, slots=True)
class Flushed:
    """The result of a flush: the assets claimed, whether more are due, and the end of the batch if it ended."""

    claimed: Sequence[Claimed]
    previous: Mapping[int, PreviousResult]
    """The earlier results of claimed assets, by position."""
    more_due: bool
    ended: EndedBatch | None
    quarantined: bool
    """True when an image of this round overran a codec thread in some worker."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a lane: the round of the batch, the token of its claims, and the length of its leases.

    With `reuse`, a flush also returns the earlier results of the assets that it claims.
    """

    batch_id: str
    round: int
    token: str
    lease: timedelta
    reuse: ReuseHashes | None = None


async def flush(
    run: Run,
    outcomes: Sequence[Outcome],
    *,
    claim: int,
    in_flight: Collection[int] = (),
    last: bool = False,
    sessions: Sessions,
    retention: Retention,
    clock: Clock,
) -> Flushed | None:
    """Write `outcomes` and claim up to `claim` assets; None when the batch's round is no longer open.

    Repeating it is harmless: only assets that still carry the run's token move, and the counters move by exactly those.
    `in_flight` are the positions that the run is processing. If a try fails, its commit may have succeeded although
    the response was lost: other assets that the run holds are then returned as claimed. The `last` flush of a run
    claims nothing and hands such assets back. Otherwise they would wait until their lease expires, and count a crash.

    Raises:
        DatabaseUnavailable: the database was unavailable for half a minute, which is well within a lease.
    """
    acknowledged = {*in_flight, *(outcome.asset.position for outcome in outcomes)}
    tries = stamina.retry_context(on=DatabaseUnavailable, attempts=None, wait_initial=0.2, wait_max=3, timeout=30)
    async for attempt in tries:
        with attempt:
            async with sessions.write() as session:
                counters = await batch_queries.lock(session, run.batch_id)
                if counters is None or counters.status not in OPEN_BATCH or counters.round != run.round:
                    return None
                unacknowledged: list[Claimed] = []
                handed_back: list[Outcome] = []
                if attempt.num > 1 or last:
                    unacknowledged = await queries.unacknowledged_claims(session, run.batch_id, run.token, acknowledged)
                if last:
                    handed_back = [Postponed(asset, asset.attempts, clock()) for asset in unacknowledged]
                    claim, unacknowledged = 0, []
                flushed = await _flush(
                    session,
                    run,
                    [*outcomes, *handed_back],
                    claim=max(0, claim - len(unacknowledged)),
                    in_flight=in_flight,
                    counters=counters,
                    retention=retention,
                    clock=clock,
                )
            return replace(flushed, claimed=[*unacknowledged, *flushed.claimed])
    raise AssertionError("the last try returns or raises")


async def _flush(
    session: AsyncSession,
    run: Run,
    outcomes: Sequence[Outcome],
    *,
    claim: int,
    in_flight: Collection[int],
    counters: Counters,
    retention: Retention,
    clock: Clock,
) -> Flushed:
    batch_id, now = run.batch_id, clock()
    written = await _write_outcomes(session, batch_id, outcomes, token=run.token, counters=counters, clock=clock)
    claims = await queries.claim(
        session, batch_id, token=run.token, in_flight=in_flight, now=now, until=now + run.lease, limit=claim
    )
    previous = await _previous_results(session, run, claims.assets)
    counters.processing += claims.were_pending
    if written or claims.assets:
        await batch_queries.save_counters(session, batch_id, counters)
    if claims.assets:
        await batch_queries.move(session, batch_id, BatchStatus.PROCESSING, started_at=now)
    ended = (
        await finish_batch(session, batch_id, counters, retention=retention, now=now) if counters.open == 0 else None
    )
    more_due = counters.open > 0 and await queries.any_due(session, batch_id, now)
    return Flushed(claims.assets, previous, more_due, ended, counters.overran_round == counters.round)


async def _previous_results(session: AsyncSession, run: Run, claimed: Sequence[Claimed]) -> dict[int, PreviousResult]:
    if run.reuse is None:
        return {}
    hashes = {asset.position: run.reuse.for_url(asset.origin_url) for asset in claimed}
    previous = await reuse_queries.previous_results(session, set(hashes.values()))
    return {position: previous[each] for position, each in hashes.items() if each in previous}


async def _write_outcomes(
    session: AsyncSession, batch_id: str, outcomes: Sequence[Outcome], *, token: str, counters: Counters, clock: Clock
) -> int:
    """Write the outcomes of the assets that this run still holds, and return their number."""
    if not outcomes:
        return 0
    positions = [outcome.asset.position for outcome in outcomes]
    held = await queries.still_claimed(session, batch_id, token, positions)
    moved = [outcome for outcome in outcomes if outcome.asset.position in held]
    if moved:
        now = clock()
        rows = [columns(outcome, now) for outcome in moved]
        await queries.write_outcomes(session, batch_id, rows)
        results = [reuse_queries.Result(row["position"], row["reuse_hash"]) for row in rows]
        await reuse_queries.note_results(session, batch_id, results)
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
                counters.overran_round = counters.round if outcome.overran else counters.overran_round
    counters.errors = dict(errors)

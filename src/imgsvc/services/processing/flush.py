"""A flush: one transaction that writes outcomes, claims assets, moves the batch's counters and finishes the batch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import stamina
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import plan_on_indexes
from imgsvc.db.engine import Sessions
from imgsvc.db.queries import counters as counter_queries
from imgsvc.db.queries import leases as lease_queries
from imgsvc.db.queries import reuse as reuse_queries
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.batches.finish import EndedBatch, Retention, ToCompare, end_images
from imgsvc.services.clock import Clock
from imgsvc.services.processing.outcomes import Outcome, Postponed
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.processing.write_outcomes import deltas_of, write_outcomes


@dataclass(frozen=True, slots=True)
class Flushed:
    """The result of a flush: the assets claimed, and the end of the batch if it ended."""

    claimed: Sequence[Claimed]
    previous: Mapping[int, PreviousResult]
    """The earlier results of claimed assets, by position."""
    conditional: int
    """The number of claimed assets whose earlier result may be reused."""
    ended: EndedBatch | ToCompare | None
    quarantined: bool
    """True when an image of this round overran a codec thread in some worker."""
    outdated: bool
    """True when files of the run were removed after its plan was read: what it stores under those keys may be gone."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a lane: its plan, the token of its claims, and the length of its leases."""

    plan: RenditionPlan
    token: str
    lease: timedelta

    @property
    def batch_id(self) -> str:
        return self.plan.batch_id

    @property
    def round(self) -> int:
        return self.plan.round


class _RoundEnded(Exception):  # not an error: it undoes the transaction
    """The round of the run is not open any more, or the batch is being changed."""


async def flush(
    run: Run,
    outcomes: Sequence[Outcome],
    *,
    claim: Mapping[int, int],
    in_flight: Collection[int] = (),
    last: bool = False,
    sessions: Sessions,
    retention: Retention,
    clock: Clock,
) -> Flushed | None:
    """Write `outcomes` and claim assets: of each host, by its number in the batch, at most as many as `claim` says.

    Return None when the batch's round is no longer open, or is being cancelled; then nothing is written.

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
            unacknowledged: list[Claimed] = []
            if attempt.num > 1 or last:
                unacknowledged = await _unacknowledged(run, acknowledged, sessions=sessions)
            handed_back = [Postponed(asset, asset.attempts, clock()) for asset in unacknowledged] if last else []
            flushed = await _try_to_flush(
                run,
                [*outcomes, *handed_back],
                claim={} if last or unacknowledged else claim,
                in_flight=in_flight,
                sessions=sessions,
                retention=retention,
                clock=clock,
            )
            if flushed is None or last:
                return flushed
            return replace(flushed, claimed=[*unacknowledged, *flushed.claimed])
    raise AssertionError("the last try returns or raises")


async def _unacknowledged(run: Run, acknowledged: Collection[int], *, sessions: Sessions) -> list[Claimed]:
    """Return what the run claimed in a commit whose response was lost.

    The lock waits for the end of that transaction, if it has not ended: it has locked the batch's row last.
    """
    async with sessions.write() as session:
        await counter_queries.lock(session, run.batch_id)
        return await lease_queries.unacknowledged_claims(session, run.batch_id, run.token, acknowledged)


async def _try_to_flush(
    run: Run,
    outcomes: Sequence[Outcome],
    *,
    claim: Mapping[int, int],
    in_flight: Collection[int],
    sessions: Sessions,
    retention: Retention,
    clock: Clock,
) -> Flushed | None:
    try:
        async with sessions.write() as session:
            return await _flush(
                session, run, outcomes, claim=claim, in_flight=in_flight, retention=retention, clock=clock
            )
    except _RoundEnded:
        return None


async def _flush(
    session: AsyncSession,
    run: Run,
    outcomes: Sequence[Outcome],
    *,
    claim: Mapping[int, int],
    in_flight: Collection[int],
    retention: Retention,
    clock: Clock,
) -> Flushed:
    """Write and claim assets, then change the batch's row: the lanes of a batch wait for each other only there."""
    batch_id, now = run.batch_id, clock()
    await plan_on_indexes(session)
    moved, outdated = await write_outcomes(session, run.plan, run.token, outcomes, now=now)
    claims = await lease_queries.claim(
        session, batch_id, token=run.token, in_flight=in_flight, now=now, until=now + run.lease, limits=claim
    )
    previous = await _previous_results(session, run, claims.assets)
    if moved or claims.assets:
        deltas = deltas_of(moved)
        deltas.processing += claims.were_pending
        claimed_at = now if claims.assets else None
        counters = await counter_queries.add(session, batch_id, deltas, round_number=run.round, claimed_at=claimed_at)
    else:
        counters = await counter_queries.current(session, batch_id, round_number=run.round)
    if counters is None:
        raise _RoundEnded
    ended = await end_images(session, batch_id, counters, retention=retention, now=now) if counters.open == 0 else None
    return Flushed(
        claims.assets,
        previous,
        sum(map(run.plan.may_reuse, previous.values())),
        ended,
        quarantined=counters.overran_round == counters.round,
        outdated=outdated,
    )


async def _previous_results(session: AsyncSession, run: Run, claimed: Sequence[Claimed]) -> dict[int, PreviousResult]:
    hashes = {asset.position: run.plan.hashes.for_url(asset.origin_url) for asset in claimed}
    previous = await reuse_queries.previous_results(session, set(hashes.values()))
    return {position: previous[each] for position, each in hashes.items() if each in previous}

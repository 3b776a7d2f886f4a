"""Write the outcomes of a lane's assets, with what later batches and removals must know of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import outcomes as outcome_queries
from imgsvc.db.queries import reuse as reuse_queries
from imgsvc.db.queries import stored_files
from imgsvc.db.queries.counters import CounterDeltas
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.processing.rendition_plan import RenditionPlan

REMOVAL_TAKES = timedelta(seconds=2)
"""Time after which an asset is tried again whose file is being removed from the storage."""


async def write_outcomes(
    session: AsyncSession, plan: RenditionPlan, token: str, outcomes: Sequence[Outcome], *, now: datetime
) -> tuple[Sequence[Outcome], bool]:
    """Write the outcomes of the assets that the run `token` still holds; return them, and whether any was outdated."""
    outcomes, outdated = await _postpone_outdated(session, plan, outcomes, now=now)
    rows = [columns(outcome, now) for outcome in outcomes]
    written = await outcome_queries.write_outcomes(session, plan.batch_id, token, rows)
    results = [reuse_queries.Result(at, row["reuse_hash"]) for row in rows if (at := row["position"]) in written]
    await reuse_queries.note_results(session, plan.batch_id, results)
    moved = [outcome for outcome in outcomes if outcome.asset.position in written]
    files = [(key, outcome.asset.position) for outcome in moved for key in _keys(outcome)]
    await stored_files.note_files(session, plan.batch_id, files)
    return moved, outdated


async def _postpone_outdated(
    session: AsyncSession, plan: RenditionPlan, outcomes: Sequence[Outcome], *, now: datetime
) -> tuple[Sequence[Outcome], bool]:
    """Postpone the assets whose files were removed since the plan was read; return the outcomes, and if there were any.

    The lock lasts to the end of the transaction: no removal begins before the files are noted.
    """
    keys = {key for outcome in outcomes for key in _keys(outcome)}
    if not keys:
        return outcomes, False
    await stored_files.lock(session, plan.api_key_id, shared=True)
    removed = await stored_files.removed_since(session, keys, plan.removals)
    if not removed:
        return outcomes, False
    again = now + REMOVAL_TAKES
    return [
        outcome if removed.isdisjoint(_keys(outcome)) else Postponed(outcome.asset, outcome.asset.attempts, again)
        for outcome in outcomes
    ], True


def _keys(outcome: Outcome) -> list[str]:
    return [entry["key"] for entry in outcome.renditions] if isinstance(outcome, Succeeded) else []


def deltas_of(moved: Sequence[Outcome]) -> CounterDeltas:
    """Return what the outcomes change in the counters of the batch."""
    deltas = CounterDeltas(processing=-len(moved))
    for outcome in moved:
        match outcome:
            case Succeeded():
                deltas.succeeded += 1
                deltas.input_bytes += outcome.input_bytes
                deltas.output_bytes += outcome.output_bytes
            case Failed():
                deltas.failed += 1
                deltas.errors[outcome.error.code] += 1
            case Postponed():
                deltas.overran = deltas.overran or outcome.overran
    return deltas

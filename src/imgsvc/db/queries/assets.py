"""Statements on assets: claim, settle, read."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam, case, literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_ASSETS, Asset
from imgsvc.domain.status import AssetStatus

SUSPECT = 2
"""Runs that died with an asset before it is worked on alone."""


class Claimed(NamedTuple):
    """An asset that a lane may work on until its lease ends."""

    position: int
    origin_url: str
    slug: str
    attempts: int
    lost: int


class Claims(NamedTuple):
    """What a claim took: the assets, and how many of them were pending (the others were a dead worker's)."""

    assets: list[Claimed]
    were_pending: int


class SlotAsset(NamedTuple):
    """What reports and product pages show of an asset."""

    position: int
    origin_url: str
    status: str
    renditions: list[dict[str, Any]] | None
    input_format: str | None
    width: int | None
    height: int | None
    input_bytes: int | None
    error_code: str | None
    error_detail: str | None
    http_status: int | None


_CLAIMED_COLUMNS = tuple(col(getattr(Asset, name)) for name in Claimed._fields)


async def claim(
    session: AsyncSession, batch_id: str, *, token: str, now: datetime, until: datetime, limit: int
) -> Claims:
    """Take up to `limit` due assets of a locked batch for the run `token`, the longest due first.

    A run whose own leases have ended (its process was frozen, the clock jumped) does not take over from itself: it
    works on those assets already. A suspect is claimed only when nothing else is due and no other suspect of the batch
    is being worked on, so that the one picture that kills workers is found without giving up its neighbours.
    """
    connection = await session.connection()
    due = (
        sa.select(*_CLAIMED_COLUMNS, col(Asset.status))
        .where(*_due(batch_id, now), col(Asset.claim).is_distinct_from(token))
        .order_by(col(Asset.due_at), col(Asset.position))
    )
    rows = (await connection.execute(due.where(col(Asset.lost) < SUSPECT).limit(limit))).all()
    if not rows and limit and not await _suspect_at_work(session, batch_id, now):
        rows = (await connection.execute(due.where(col(Asset.lost) >= SUSPECT).limit(1))).all()
    if not rows:
        return Claims([], 0)
    taken_over = col(Asset.status) == AssetStatus.PROCESSING
    await connection.execute(
        update(Asset)
        .where(col(Asset.batch_id) == batch_id, col(Asset.position).in_([row.position for row in rows]))
        .values(
            status=AssetStatus.PROCESSING,
            claim=token,
            due_at=until,
            lost=Asset.lost + case((taken_over, 1), else_=0),
            updated_at=now,
        )
    )
    assets = [Claimed(r.position, r.origin_url, r.slug, r.attempts, r.lost + (r.status == "processing")) for r in rows]
    return Claims(assets, sum(row.status == AssetStatus.PENDING for row in rows))


def _due(batch_id: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(Asset.batch_id) == batch_id, literal_column(OPEN_ASSETS), col(Asset.due_at) <= now)


async def _suspect_at_work(session: AsyncSession, batch_id: str, now: datetime) -> bool:
    leased = select(Asset.position).where(
        Asset.batch_id == batch_id,
        literal_column(OPEN_ASSETS),
        Asset.status == AssetStatus.PROCESSING,
        col(Asset.due_at) > now,
        col(Asset.lost) >= SUSPECT,
    )
    return (await session.exec(leased.limit(1))).first() is not None


async def any_due(session: AsyncSession, batch_id: str, now: datetime) -> bool:
    """Whether another run could claim something now; suspects do not count, they have one run at a time."""
    due = select(Asset.position).where(*_due(batch_id, now), col(Asset.lost) < SUSPECT)
    return (await session.exec(due.limit(1))).first() is not None


async def still_claimed(session: AsyncSession, batch_id: str, token: str, positions: Collection[int]) -> set[int]:
    """Which of `positions` the run `token` still holds; a frozen worker that wakes up may have lost them."""
    statement = select(Asset.position).where(
        Asset.batch_id == batch_id,
        Asset.claim == token,
        Asset.status == AssetStatus.PROCESSING,
        col(Asset.position).in_(positions),
    )
    return set(await session.exec(statement))


_SETTLED = (
    "status",
    "due_at",
    "attempts",
    "lost",
    "input_format",
    "width",
    "height",
    "input_bytes",
    "renditions",
    "error_code",
    "error_detail",
    "http_status",
    "etag",
    "last_modified",
    "updated_at",
)
_TABLE = Asset.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only
_SETTLE = (
    update(_TABLE)
    .where(_TABLE.c.batch_id == bindparam("at_batch_id"), _TABLE.c.position == bindparam("at_position"))
    .values(claim=None, **{name: bindparam(name) for name in _SETTLED})
)


async def settle(session: AsyncSession, batch_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write how claimed assets ended, all in one statement; each row has `position` and every column of `_SETTLED`."""
    connection = await session.connection()
    await connection.execute(
        _SETTLE,
        [{"at_batch_id": batch_id, "at_position": row["position"], **{n: row[n] for n in _SETTLED}} for row in rows],
    )


_SLOT_COLUMNS = tuple(col(getattr(Asset, name)) for name in SlotAsset._fields)


async def at_positions(session: AsyncSession, batch_id: str, positions: Collection[int]) -> dict[int, SlotAsset]:
    """The assets at these positions."""
    connection = await session.connection()
    found: dict[int, SlotAsset] = {}
    ordered = sorted(set(positions))
    for start in range(0, len(ordered), 500):  # well below the variables that one statement may have
        statement = sa.select(*_SLOT_COLUMNS).where(
            col(Asset.batch_id) == batch_id, col(Asset.position).in_(ordered[start : start + 500])
        )
        found.update((row.position, SlotAsset(*row)) for row in await connection.execute(statement))
    return found

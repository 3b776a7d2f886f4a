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
    works on those assets already.
    """
    due = (
        sa.select(*_CLAIMED_COLUMNS, col(Asset.status))
        .where(
            col(Asset.batch_id) == batch_id,
            literal_column(OPEN_ASSETS),
            col(Asset.due_at) <= now,
            col(Asset.claim).is_distinct_from(token),
        )
        .order_by(col(Asset.due_at), col(Asset.position))
        .limit(limit)
    )
    connection = await session.connection()
    rows = (await connection.execute(due)).all()
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


async def any_due(session: AsyncSession, batch_id: str, now: datetime) -> bool:
    """Whether an asset of the batch could be claimed now."""
    due = select(Asset.position).where(
        Asset.batch_id == batch_id, literal_column(OPEN_ASSETS), col(Asset.due_at) <= now
    )
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

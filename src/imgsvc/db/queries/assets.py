"""Statements on assets: cancel, reset and read them."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import case, literal_column, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_ASSETS, Asset
from imgsvc.domain.status import AssetStatus, Suspicion


class SlotAsset(NamedTuple):
    """The columns of an asset that reports and product pages show."""

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


class Moved(NamedTuple):
    """Assets that a page of a change moved: their number, how many were processing, and the failed ones by code."""

    assets: int
    processing: int
    errors: Counter[str]


async def cancel_open(
    session: AsyncSession, batch_id: str, window: range, *, code: str, detail: str, now: datetime
) -> Moved:
    """Cancel the open assets at the positions of `window`, including claimed ones."""
    return await _move(
        session,
        (*_within(batch_id, window), literal_column(OPEN_ASSETS)),
        {
            "status": AssetStatus.CANCELLED,
            "claim": None,
            "error_code": code,
            "error_detail": detail,
            "due_at": now,
            "updated_at": now,
        },
    )


def _within(batch_id: str, window: range) -> tuple[sa.ColumnElement[bool], ...]:
    position = col(Asset.position)
    return (col(Asset.batch_id) == batch_id, position >= window.start, position < window.stop)


async def _move(session: AsyncSession, found: Collection[sa.ColumnElement[bool]], values: dict[str, Any]) -> Moved:
    """Lock the assets in order of their positions, as a flush does, then update them."""
    connection = await session.connection()
    columns = sa.select(col(Asset.status), col(Asset.error_code))
    rows = (await connection.execute(columns.where(*found).order_by(col(Asset.position)).with_for_update())).all()
    if rows:
        await session.exec(update(Asset).where(*found).values(values))
    processing = sum(status == AssetStatus.PROCESSING for status, _ in rows)
    return Moved(len(rows), processing, Counter(code for _, code in rows if code))


async def reset_failed(
    session: AsyncSession,
    batch_id: str,
    window: range,
    *,
    codes: Collection[str] = (),
    exclude: Collection[str] = (),
    now: datetime,
) -> Moved:
    """Move the failed assets at the positions of `window` back to pending, with their failures forgotten.

    A suspect remains one, but with at most one crash, and as abandoned: an overrun counts only in its own round.
    """
    cleared = dict.fromkeys(("claim", "error_code", "error_detail", "http_status"))
    counters = {
        **dict.fromkeys(("attempts", "storage_failures", "quarantine_failures"), 0),
        "lost": case((col(Asset.lost) > 0, 1), else_=0),
        "suspicion": case((col(Asset.suspicion).is_not(None), Suspicion.ABANDONED), else_=None),
    }
    return await _move(
        session,
        (*_within(batch_id, window), *_failed(batch_id, codes, exclude)),
        {"status": AssetStatus.PENDING, "due_at": now, "updated_at": now, **counters, **cleared},
    )


def _failed(batch_id: str, codes: Collection[str], exclude: Collection[str]) -> tuple[sa.ColumnElement[bool], ...]:
    included = (col(Asset.error_code).in_(codes),) if codes else ()
    not_excluded = col(Asset.error_code).not_in(exclude)
    return (col(Asset.batch_id) == batch_id, col(Asset.status) == AssetStatus.FAILED, not_excluded, *included)


async def rendition_keys(session: AsyncSession, batch_id: str, positions: Collection[int]) -> set[str]:
    """Return the storage keys of these assets' renditions."""
    rows = await at_positions(session, batch_id, positions)
    return {
        entry["key"] for row in rows.values() if row.status == AssetStatus.SUCCEEDED for entry in row.renditions or ()
    }


async def succeeded_renditions(
    session: AsyncSession, batch_id: str, *, after: int, limit: int
) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return position and renditions of the succeeded assets after position `after`, in order."""
    connection = await session.connection()
    statement = (
        sa.select(col(Asset.position), col(Asset.renditions))
        .where(col(Asset.batch_id) == batch_id, col(Asset.position) > after, col(Asset.status) == AssetStatus.SUCCEEDED)
        .order_by(col(Asset.position))
        .limit(limit)
    )
    return [(position, renditions or []) for position, renditions in await connection.execute(statement)]


_SLOT_COLUMNS = tuple(col(getattr(Asset, name)) for name in SlotAsset._fields)


async def at_positions(session: AsyncSession, batch_id: str, positions: Collection[int]) -> dict[int, SlotAsset]:
    """Return the assets at these positions."""
    connection = await session.connection()
    found: dict[int, SlotAsset] = {}
    ordered = sorted(set(positions))
    for start in range(0, len(ordered), 500):  # well below the limit of variables per statement
        statement = sa.select(*_SLOT_COLUMNS).where(
            col(Asset.batch_id) == batch_id, col(Asset.position).in_(ordered[start : start + 500])
        )
        found.update((row.position, SlotAsset(*row)) for row in await connection.execute(statement))
    return found

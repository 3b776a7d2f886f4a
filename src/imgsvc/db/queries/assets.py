"""Statements on assets: end them, begin them again, read them."""

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


async def cancel_open(session: AsyncSession, batch_id: str, *, code: str, detail: str, now: datetime) -> int:
    """Cancel what is open in a locked batch, whoever works on it; returns how many."""
    result = await session.exec(
        update(Asset)
        .where(col(Asset.batch_id) == batch_id, literal_column(OPEN_ASSETS))
        .values(
            status=AssetStatus.CANCELLED, claim=None, error_code=code, error_detail=detail, due_at=now, updated_at=now
        )
    )
    return int(result.rowcount)


async def failures(
    session: AsyncSession, batch_id: str, *, codes: Collection[str] = (), but: Collection[str] = ()
) -> dict[str, int]:
    """Failed assets by code: those of `codes` (empty: all), leaving out those of `but`."""
    connection = await session.connection()
    statement = sa.select(col(Asset.error_code), sa.func.count()).where(*_failed(batch_id, codes, but))
    rows = await connection.execute(statement.group_by(col(Asset.error_code)))
    return {code or "": count for code, count in rows}


async def reset_failed(
    session: AsyncSession, batch_id: str, *, codes: Collection[str] = (), but: Collection[str] = (), now: datetime
) -> None:
    """Make failed assets of a locked batch pending again, with all counters reset.

    A suspect stays one, but of the mildest kind: what overran in the round before says nothing about this one.
    """
    emptied = dict.fromkeys(("error_code", "error_detail", "http_status"))
    counters = {
        **dict.fromkeys(("attempts", "storage_failures", "quarantine_failures"), 0),
        "lost": case((col(Asset.lost) > 0, 1), else_=0),
        "suspicion": case((col(Asset.suspicion).is_not(None), Suspicion.ABANDONED), else_=None),
    }
    await session.exec(
        update(Asset)
        .where(*_failed(batch_id, codes, but))
        .values(status=AssetStatus.PENDING, claim=None, due_at=now, updated_at=now, **counters, **emptied)
    )


def _failed(batch_id: str, codes: Collection[str], but: Collection[str]) -> tuple[sa.ColumnElement[bool], ...]:
    wanted = (col(Asset.error_code).in_(codes),) if codes else ()
    unwanted = col(Asset.error_code).not_in(but)
    return (col(Asset.batch_id) == batch_id, col(Asset.status) == AssetStatus.FAILED, unwanted, *wanted)


async def rendition_keys(session: AsyncSession, batch_id: str, positions: Collection[int]) -> set[str]:
    """Every key that these assets name."""
    rows = await at_positions(session, batch_id, positions)
    return {
        entry["key"] for row in rows.values() if row.status == AssetStatus.SUCCEEDED for entry in row.renditions or ()
    }


async def succeeded(
    session: AsyncSession, batch_id: str, *, after: int, limit: int
) -> list[tuple[int, list[dict[str, Any]]]]:
    """Position and renditions of the assets behind position `after` that have succeeded, in order."""
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

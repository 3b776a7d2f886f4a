"""Statements on the leases of assets: claim assets, write outcomes, check claims."""

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
    """An asset that a lane may process until its lease ends."""

    position: int
    origin_url: str
    slug: str
    attempts: int
    lost: int
    suspicion: str | None = None
    storage_failures: int = 0
    quarantine_failures: int = 0

    @property
    def is_suspect(self) -> bool:
        """True if the image must not be decoded in a thread, only in the sandbox."""
        return self.lost > 0 or self.suspicion is not None


class Claims(NamedTuple):
    """The assets that a claim got, and how many of them were pending (the others belonged to a dead worker)."""

    assets: list[Claimed]
    were_pending: int


_CLAIMED_COLUMNS = tuple(col(getattr(Asset, name)) for name in Claimed._fields)


async def claim(
    session: AsyncSession,
    batch_id: str,
    *,
    token: str,
    in_flight: Collection[int],
    now: datetime,
    until: datetime,
    limit: int,
) -> Claims:
    """Claim up to `limit` due assets of a locked batch for the run `token`, longest due first.

    A run whose own leases have expired (its process was frozen, the clock jumped) does not claim the assets that it
    still has `in_flight`, even if another run claimed them and handed them back: their outcome would count twice.
    """
    connection = await session.connection()
    due = (
        sa.select(*_CLAIMED_COLUMNS, col(Asset.status))
        .where(*_due(batch_id, now), col(Asset.claim).is_distinct_from(token), col(Asset.position).not_in(in_flight))
        .order_by(col(Asset.due_at), col(Asset.position))
        .limit(limit)
    )
    rows = (await connection.execute(due)).all() if limit else []
    if not rows:
        return Claims([], 0)
    lease_expired = col(Asset.status) == AssetStatus.PROCESSING
    await connection.execute(
        update(Asset)
        .where(col(Asset.batch_id) == batch_id, col(Asset.position).in_([row.position for row in rows]))
        .values(
            status=AssetStatus.PROCESSING,
            claim=token,
            due_at=until,
            lost=Asset.lost + case((lease_expired, 1), else_=0),
            updated_at=now,
        )
    )
    assets = [Claimed(*row[:-1])._replace(lost=row.lost + (row.status == "processing")) for row in rows]
    return Claims(assets, sum(row.status == AssetStatus.PENDING for row in rows))


def _due(batch_id: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(Asset.batch_id) == batch_id, literal_column(OPEN_ASSETS), col(Asset.due_at) <= now)


async def any_due(session: AsyncSession, batch_id: str, now: datetime) -> bool:
    """Return whether a run could claim any asset now."""
    due = select(Asset.position).where(*_due(batch_id, now))
    return (await session.exec(due.limit(1))).first() is not None


async def still_claimed(session: AsyncSession, batch_id: str, token: str, positions: Collection[int]) -> set[int]:
    """Return those of `positions` that the run `token` still holds; it loses them if its process was frozen."""
    statement = select(Asset.position).where(
        Asset.batch_id == batch_id,
        Asset.claim == token,
        Asset.status == AssetStatus.PROCESSING,
        col(Asset.position).in_(positions),
    )
    return set(await session.exec(statement))


_OUTCOME_COLUMNS = (
    "status",
    "due_at",
    "attempts",
    "lost",
    "suspicion",
    "storage_failures",
    "quarantine_failures",
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
    "final_url_hash",
    "reuse_hash",
    "updated_at",
)
_TABLE = Asset.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only
_WRITE_OUTCOME = (
    update(_TABLE)
    .where(_TABLE.c.batch_id == bindparam("at_batch_id"), _TABLE.c.position == bindparam("at_position"))
    .values(claim=None, **{name: bindparam(name) for name in _OUTCOME_COLUMNS})
)


async def write_outcomes(session: AsyncSession, batch_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write the outcomes of claimed assets in one statement; a row has `position` and every `_OUTCOME_COLUMNS`."""
    connection = await session.connection()
    await connection.execute(
        _WRITE_OUTCOME,
        [
            {
                "at_batch_id": batch_id,
                "at_position": row["position"],
                **{name: row[name] for name in _OUTCOME_COLUMNS},
            }
            for row in rows
        ],
    )


async def unacknowledged_claims(
    session: AsyncSession, batch_id: str, token: str, acknowledged: Collection[int]
) -> list[Claimed]:
    """Return the assets that the run `token` claimed in a commit whose response was lost."""
    connection = await session.connection()
    statement = sa.select(*_CLAIMED_COLUMNS).where(
        col(Asset.batch_id) == batch_id,
        literal_column(OPEN_ASSETS),
        col(Asset.claim) == token,
        col(Asset.position).not_in(acknowledged),
    )
    return [Claimed(*row) for row in await connection.execute(statement)]

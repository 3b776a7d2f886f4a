"""Statements on the counters of a batch, which are in its row."""

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import case, literal_column, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_BATCHES, Batch
from imgsvc.domain.status import BatchStatus


@dataclass(slots=True)
class Counters:
    """The counters of a batch, with its status and round."""

    status: str
    round: int
    asset_count: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int
    input_bytes: int
    output_bytes: int
    errors: dict[str, int] = field(default_factory=dict)
    overran_round: int | None = None

    @property
    def open(self) -> int:
        """Assets that are pending or processing."""
        return self.asset_count - self.succeeded - self.failed - self.cancelled


_COUNTERS = tuple(col(getattr(Batch, spec.name)) for spec in fields(Counters))


async def lock(session: AsyncSession, batch_id: str, *, api_key_id: str | None = None) -> Counters | None:
    """Lock the batch's row (on SQLite the transaction already holds the only write lock) and read its counters.

    A transaction that starts here locks no assets: those that do lock the batch's row last (`add`).
    Return None if the batch is deleted or belongs to another key.
    """
    connection = await session.connection()
    statement = sa.select(*_COUNTERS).where(col(Batch.id) == batch_id, col(Batch.deleted_at).is_(None))
    if api_key_id is not None:
        statement = statement.where(col(Batch.api_key_id) == api_key_id)
    row = (await connection.execute(statement.with_for_update())).one_or_none()
    return None if row is None else Counters(*row)


@dataclass(slots=True)
class CounterDeltas:
    """The numbers by which a transaction changes the counters of a batch; `errors` by code."""

    processing: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    overran: bool = False
    """True when an image of the round took too long for a codec thread."""


_ADDED = ("processing", "succeeded", "failed", "cancelled", "input_bytes", "output_bytes")


async def add(
    session: AsyncSession,
    batch_id: str,
    deltas: CounterDeltas,
    *,
    round_number: int,
    change: str | None = None,
    claimed_at: datetime | None = None,
) -> Counters | None:
    """Add `deltas` to the counters of an open batch and return them; None when that round is no longer open.

    This locks the batch's row until the transaction ends. It is the last row that a transaction on assets locks, so
    that the lanes of a batch wait for each other as briefly as possible. `change` must be the change in progress (None:
    there is none, as for lanes). `claimed_at`: assets were claimed, so the batch is processing.
    """
    values: dict[str, Any] = {name: getattr(Batch, name) + getattr(deltas, name) for name in _ADDED}
    if deltas.overran:
        values["overran_round"] = Batch.round
    if claimed_at:
        is_pending = col(Batch.status) == BatchStatus.PENDING
        values |= {
            "status": BatchStatus.PROCESSING,
            "started_at": case((is_pending, claimed_at), else_=col(Batch.started_at)),
        }
    connection = await session.connection()
    is_current = sa.and_(
        col(Batch.id) == batch_id,
        col(Batch.deleted_at).is_(None),
        literal_column(OPEN_BATCHES),
        col(Batch.round) == round_number,
        col(Batch.change) == change,
    )
    statement = update(Batch).where(is_current).values(version=Batch.version + 1, **values).returning(*_COUNTERS)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    counters = Counters(*row)
    if deltas.errors:
        errors = Counter(counters.errors)
        errors.update(deltas.errors)
        counters.errors = {code: count for code, count in errors.items() if count}
        await connection.execute(update(Batch).where(col(Batch.id) == batch_id).values(errors=counters.errors))
    return counters


async def current(session: AsyncSession, batch_id: str, *, round_number: int) -> Counters | None:
    """Return the counters of a batch; None when that round of it is no longer open, or is being changed."""
    connection = await session.connection()
    statement = sa.select(*_COUNTERS).where(
        col(Batch.id) == batch_id,
        col(Batch.deleted_at).is_(None),
        literal_column(OPEN_BATCHES),
        col(Batch.round) == round_number,
        col(Batch.change).is_(None),
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Counters(*row)

"""Statements on the counters of a batch, which are in its row."""

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import bindparam, case, literal_column, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_BATCHES, Batch
from imgsvc.db.types import UtcDateTime
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


_TABLE = Batch.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only
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
_HAS_CLAIMED = bindparam("has_claimed", type_=sa.Boolean)
_HAS_BEGUN = sa.and_(_HAS_CLAIMED, _TABLE.c.status == BatchStatus.PENDING)
# Built once: SQLAlchemy would take longer to build it for each flush than the database takes to run it.
_ADD = (
    update(_TABLE)
    .where(
        _TABLE.c.id == bindparam("at_batch_id"),
        _TABLE.c.deleted_at.is_(None),
        literal_column(OPEN_BATCHES),
        _TABLE.c.round == bindparam("at_round"),
        _TABLE.c.change.is_not_distinct_from(bindparam("at_change")),
    )
    .values(
        version=_TABLE.c.version + 1,
        status=case((_HAS_BEGUN, BatchStatus.PROCESSING), else_=_TABLE.c.status),
        started_at=case((_HAS_BEGUN, bindparam("now", type_=UtcDateTime)), else_=_TABLE.c.started_at),
        overran_round=case((bindparam("has_overrun", type_=sa.Boolean), _TABLE.c.round), else_=_TABLE.c.overran_round),
        **{name: _TABLE.c[name] + bindparam(f"added_{name}", type_=_TABLE.c[name].type) for name in _ADDED},
    )
    .returning(*_COUNTERS)
)


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
    values = {
        "at_batch_id": batch_id,
        "at_round": round_number,
        "at_change": change,
        "has_claimed": claimed_at is not None,
        "now": claimed_at,
        "has_overrun": deltas.overran,
        **{f"added_{name}": getattr(deltas, name) for name in _ADDED},
    }
    connection = await session.connection()
    row = (await connection.execute(_ADD, values)).one_or_none()
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

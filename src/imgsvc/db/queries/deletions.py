"""Statements that end the life of a batch: what has expired, what is to be tidied, and the removal of rows."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import delete, literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import (
    EXPIRING_BATCHES,
    OPEN_DELIVERIES,
    UNTIDY_BATCHES,
    Asset,
    Batch,
    Delivery,
    DeliveryAttempt,
    IdempotencyKey,
    Product,
)
from imgsvc.domain.status import FINISHED_BATCH, DeliveryStatus

_SLICE = 2_000
"""Rows removed in one statement: the write lock is free again in milliseconds."""


async def expired(session: AsyncSession, now: datetime, *, limit: int = 100) -> Sequence[str]:
    """Finished batches whose time is over, the longest ago first; one whose webhook still waits is kept until then."""
    announcing = (
        select(Delivery.id).where(col(Delivery.batch_id) == Batch.id, literal_column(f"delivery.{OPEN_DELIVERIES}"))
    ).exists()
    statement = select(Batch.id).where(literal_column(EXPIRING_BATCHES), col(Batch.expires_at) <= now, ~announcing)
    return (await session.exec(statement.order_by(col(Batch.expires_at)).limit(limit))).all()


async def soft_delete(session: AsyncSession, batch_ids: Sequence[str], now: datetime) -> int:
    """Delete finished batches for everybody who asks; returns how many. Their rows are tidied away later.

    The clients' names for them are free at once: the same upload makes a new batch. Webhooks that wait are given up.
    """
    result = await session.exec(
        update(Batch)
        .where(col(Batch.id).in_(batch_ids), col(Batch.deleted_at).is_(None), col(Batch.status).in_(FINISHED_BATCH))
        .values(deleted_at=now, tidy_at=now, version=Batch.version + 1)
    )
    hidden = select(Batch.id).where(col(Batch.id).in_(batch_ids), col(Batch.deleted_at).is_not(None))
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.batch_id).in_(hidden)))
    await session.exec(
        update(Delivery)
        .where(col(Delivery.batch_id).in_(hidden), literal_column(OPEN_DELIVERIES))
        .values(status=DeliveryStatus.EXHAUSTED)
    )
    return int(result.rowcount)


async def due_for_clean_up(session: AsyncSession, now: datetime, *, limit: int = 1_000) -> Sequence[str]:
    """Batches whose storage is to be looked at now."""
    statement = select(Batch.id).where(literal_column(UNTIDY_BATCHES), col(Batch.tidy_at) <= now)
    return (await session.exec(statement.order_by(col(Batch.tidy_at)).limit(limit))).all()


async def get_for_clean_up(session: AsyncSession, batch_id: str) -> Batch | None:
    """The batch, deleted or not, if it is to be tidied at some time."""
    statement = select(Batch).where(Batch.id == batch_id, col(Batch.tidy_at).is_not(None))
    return (await session.exec(statement)).one_or_none()


async def schedule_clean_up(session: AsyncSession, batch_id: str, *, seen: datetime, next_at: datetime | None) -> None:
    """Say when it is to be tidied next, unless something changed that since it was `seen` to be due."""
    await session.exec(
        update(Batch).where(col(Batch.id) == batch_id, col(Batch.tidy_at) == seen).values(tidy_at=next_at)
    )


async def remove_rows(session: AsyncSession, table: type[Product | Asset], batch_id: str) -> int:
    """Remove some rows of a deleted batch; returns how many, 0 when none is left.

    One at a time: the second of two that remove the same rows would see that it removed none, and go on too early.
    """
    await session.exec(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    key = sa.tuple_(col(table.batch_id), col(table.position))
    some = sa.select(col(table.batch_id), col(table.position)).where(col(table.batch_id) == batch_id).limit(_SLICE)
    return int((await session.exec(delete(table).where(key.in_(some)))).rowcount)


async def remove_deliveries(session: AsyncSession, batch_id: str) -> None:
    """Remove the deliveries of a deleted batch and their log."""
    # An attempt that is just being recorded comes first, and is seen by what follows.
    await session.exec(select(Delivery.id).where(Delivery.batch_id == batch_id).with_for_update())
    its = select(Delivery.id).where(Delivery.batch_id == batch_id)
    await session.exec(delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(its)))
    await session.exec(delete(Delivery).where(col(Delivery.batch_id) == batch_id))


async def remove_batch(session: AsyncSession, batch_id: str) -> None:
    """Remove the row of a deleted batch that has no others left."""
    await session.exec(delete(Batch).where(col(Batch.id) == batch_id, col(Batch.deleted_at).is_not(None)))

"""Statements that delete batches: find expired batches and due clean-ups, and remove rows."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import delete, literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import plan_on_indexes
from imgsvc.db.queries import reuse, stored_files
from imgsvc.db.tables import (
    EXPIRING_BATCHES,
    OPEN_DELIVERIES,
    TO_CLEAN_UP,
    Asset,
    Batch,
    Delivery,
    DeliveryAttempt,
    GoneProduct,
    IdempotencyKey,
    Product,
)
from imgsvc.domain.status import FINISHED_BATCH, DeliveryStatus

_SLICE = 2_000
"""Rows removed per statement, so that the write lock is held for milliseconds only."""


async def expired(session: AsyncSession, now: datetime, *, limit: int = 100) -> Sequence[str]:
    """Return finished batches past their expiry, longest expired first, except those with a pending delivery."""
    has_pending_delivery = (
        select(Delivery.id).where(col(Delivery.batch_id) == Batch.id, literal_column(f"delivery.{OPEN_DELIVERIES}"))
    ).exists()
    statement = select(Batch.id).where(literal_column(EXPIRING_BATCHES), col(Batch.expires_at) <= now)
    statement = statement.where(~has_pending_delivery)
    return (await session.exec(statement.order_by(col(Batch.expires_at)).limit(limit))).all()


async def soft_delete(session: AsyncSession, batch_ids: Sequence[str], now: datetime) -> int:
    """Mark finished batches as deleted, which makes them invisible; return how many. Clean-ups remove the rows later.

    Their idempotency keys are freed at once: the same upload then makes a new batch. Pending deliveries are dropped.
    """
    result = await session.exec(
        update(Batch)
        .where(col(Batch.id).in_(batch_ids), col(Batch.deleted_at).is_(None), col(Batch.status).in_(FINISHED_BATCH))
        .values(deleted_at=now, tidy_at=now, version=Batch.version + 1)
    )
    deleted = select(Batch.id).where(col(Batch.id).in_(batch_ids), col(Batch.deleted_at).is_not(None))
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.batch_id).in_(deleted)))
    await session.exec(
        update(Delivery)
        .where(col(Delivery.batch_id).in_(deleted), literal_column(OPEN_DELIVERIES))
        .values(status=DeliveryStatus.EXHAUSTED)
    )
    return int(result.rowcount)


async def due_for_clean_up(session: AsyncSession, now: datetime, *, limit: int = 1_000) -> Sequence[str]:
    """Return the batches whose clean-up is due, longest due first."""
    statement = select(Batch.id).where(literal_column(TO_CLEAN_UP), col(Batch.tidy_at) <= now)
    return (await session.exec(statement.order_by(col(Batch.tidy_at)).limit(limit))).all()


async def get_for_clean_up(session: AsyncSession, batch_id: str) -> Batch | None:
    """Return the batch, deleted or not, if a clean-up is scheduled."""
    statement = select(Batch).where(Batch.id == batch_id, col(Batch.tidy_at).is_not(None))
    return (await session.exec(statement)).one_or_none()


async def schedule_clean_up(session: AsyncSession, batch_id: str, *, seen: datetime, next_at: datetime | None) -> None:
    """Schedule the next clean-up (None: no more), unless the schedule has changed since it was read as `seen`."""
    await session.exec(
        update(Batch).where(col(Batch.id) == batch_id, col(Batch.tidy_at) == seen).values(tidy_at=next_at)
    )


async def remove_products(session: AsyncSession, batch_id: str) -> bool:
    """Remove some rows of a deleted batch; return False when none were left."""
    removed = 0
    for table in (Product, GoneProduct):
        statement = await _delete_some(session, table, batch_id)
        removed += (await session.exec(statement)).rowcount
    return removed > 0


async def remove_assets(session: AsyncSession, batch_id: str) -> list[str] | None:
    """Remove some assets of a deleted batch, also from reuse and stored files; return the keys of their renditions.

    None: none were left.
    """
    statement = await _delete_some(session, Asset, batch_id)
    connection = await session.connection()
    columns = (col(Asset.reuse_hash), col(Asset.renditions))
    rows = (await connection.execute(statement.returning(*columns))).all()
    if not rows:
        return None
    await reuse.forget(session, batch_id, [row.reuse_hash for row in rows if row.reuse_hash])
    keys = sorted({entry["key"] for row in rows for entry in row.renditions or ()})
    await stored_files.forget_batch(session, batch_id, keys)
    return keys


async def _delete_some(session: AsyncSession, table: type[Product | GoneProduct | Asset], batch_id: str) -> sa.Delete:
    """Return the statement that removes one slice of a batch's rows.

    The batch's row is locked. Otherwise a second process that removes the same rows would find none left, and continue
    before the first has committed.
    """
    await plan_on_indexes(session)  # for a batch that is much of its table, Postgres would read all of that each time
    await session.exec(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    key = sa.tuple_(col(table.batch_id), col(table.position))
    some = sa.select(col(table.batch_id), col(table.position)).where(col(table.batch_id) == batch_id).limit(_SLICE)
    return delete(table).where(key.in_(some))


async def remove_deliveries(session: AsyncSession, batch_id: str) -> None:
    """Remove the deliveries of a deleted batch and their attempts."""
    # The lock waits for an attempt that is being recorded, so that the statements below see it.
    await session.exec(select(Delivery.id).where(Delivery.batch_id == batch_id).with_for_update())
    delivery_ids = select(Delivery.id).where(Delivery.batch_id == batch_id)
    await session.exec(delete(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids)))
    await session.exec(delete(Delivery).where(col(Delivery.batch_id) == batch_id))


async def remove_batch(session: AsyncSession, batch_id: str) -> None:
    """Remove the row of a deleted batch whose other rows are gone."""
    await session.exec(delete(Batch).where(col(Batch.id) == batch_id, col(Batch.deleted_at).is_not(None)))

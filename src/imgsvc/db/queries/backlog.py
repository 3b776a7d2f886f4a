"""Statements that measure unfinished work."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import literal_column
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_BATCHES, OPEN_DELIVERIES, Batch, Delivery


class OpenBatches(NamedTuple):
    """The batches in one open status, their unfinished assets, and the creation time of the oldest batch."""

    status: str
    batches: int
    pending: int
    processing: int
    oldest: datetime


async def open_batches(session: AsyncSession) -> list[OpenBatches]:
    connection = await session.connection()
    ended = col(Batch.succeeded) + col(Batch.failed) + col(Batch.cancelled)
    pending = sa.func.sum(col(Batch.asset_count) - ended - col(Batch.processing))
    statement = (
        sa.select(
            col(Batch.status),
            sa.func.count(),
            pending,
            sa.func.sum(col(Batch.processing)),
            sa.func.min(Batch.created_at),
        )
        .where(literal_column(OPEN_BATCHES), col(Batch.deleted_at).is_(None))
        .group_by(col(Batch.status))
    )
    return [
        OpenBatches(status, batches, int(pending), int(processing), oldest)
        for status, batches, pending, processing, oldest in await connection.execute(statement)
    ]


async def open_deliveries(session: AsyncSession) -> tuple[int, datetime | None]:
    """Return the number of pending deliveries and the earliest time one of them was or is due."""
    connection = await session.connection()
    statement = sa.select(sa.func.count(), sa.func.min(Delivery.due_at)).where(literal_column(OPEN_DELIVERIES))
    count, due = (await connection.execute(statement)).one()
    return int(count), due

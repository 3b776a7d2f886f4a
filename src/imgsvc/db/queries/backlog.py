"""Statements about what is still to be done."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import literal_column
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_BATCHES, OPEN_DELIVERIES, Batch, Delivery


class OpenBatches(NamedTuple):
    """Batches in one open status, their assets that have not ended, and when the oldest was made."""

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
    """How many webhooks are not delivered yet, and when the one that waits longest was or is due."""
    connection = await session.connection()
    statement = sa.select(sa.func.count(), sa.func.min(Delivery.due_at)).where(literal_column(OPEN_DELIVERIES))
    count, due = (await connection.execute(statement)).one()
    return int(count), due

"""Statements on webhook deliveries and their attempts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_DELIVERIES, ApiKey, Batch, Delivery, DeliveryAttempt
from imgsvc.domain.status import DELIVERY_MOVES, DeliveryStatus


async def get(session: AsyncSession, delivery_id: str) -> Delivery | None:
    return await session.get(Delivery, delivery_id)


async def of_batch(session: AsyncSession, batch_id: str, *, round_number: int) -> Delivery | None:
    """The delivery that announces the end of this round of the batch, once it has ended."""
    statement = select(Delivery).where(Delivery.batch_id == batch_id, Delivery.round == round_number)
    return (await session.exec(statement)).one_or_none()


async def lease(session: AsyncSession, delivery_id: str, *, now: datetime, until: datetime) -> bool:
    """Take a due delivery for one attempt; False when it is not due, ended, or being attempted elsewhere."""
    result = await session.exec(
        update(Delivery)
        .where(col(Delivery.id) == delivery_id, literal_column(OPEN_DELIVERIES), col(Delivery.due_at) <= now)
        .values(due_at=until)
    )
    return bool(result.rowcount)


async def record(session: AsyncSession, attempt: DeliveryAttempt, target: DeliveryStatus, *, due_at: datetime) -> bool:
    """Log an attempt and move its delivery to `target`; False when that attempt was already recorded by another run."""
    result = await session.exec(
        update(Delivery)
        .where(
            col(Delivery.id) == attempt.delivery_id,
            col(Delivery.attempts) == attempt.number - 1,
            col(Delivery.status).in_(DELIVERY_MOVES[target]),
        )
        .values(status=target, attempts=attempt.number, due_at=due_at)
    )
    if result.rowcount:
        session.add(attempt)
    return bool(result.rowcount)


async def due(session: AsyncSession, now: datetime, *, limit: int = 1_000) -> Sequence[tuple[str, int]]:
    """(id, attempts so far) of the deliveries whose time has come, the longest due first."""
    statement = (
        select(Delivery.id, Delivery.attempts)
        .where(literal_column(OPEN_DELIVERIES), col(Delivery.due_at) <= now)
        .order_by(col(Delivery.due_at))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def attempts(session: AsyncSession, delivery_id: str) -> Sequence[DeliveryAttempt]:
    """The log of a delivery, in order."""
    statement = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return (await session.exec(statement.order_by(col(DeliveryAttempt.number)))).all()


async def signing_secrets(session: AsyncSession, batch_id: str) -> list[dict[str, Any]]:
    """The webhook secrets of the API key that owns the batch, the newest first."""
    statement = select(ApiKey.webhook_secrets).join(Batch, col(Batch.api_key_id) == ApiKey.id)
    return list((await session.exec(statement.where(Batch.id == batch_id))).one())

"""Statements on webhook deliveries and their attempts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import OPEN_DELIVERIES, Batch, Delivery, DeliveryAttempt
from imgsvc.domain.status import DELIVERY_MOVES, DeliveryStatus

MAX_ATTEMPTS_SHOWN = 50


class DeliveryLog(NamedTuple):
    """A delivery and its attempts, in order."""

    delivery: Delivery
    attempts: Sequence[DeliveryAttempt]


async def get(session: AsyncSession, delivery_id: str) -> Delivery | None:
    return await session.get(Delivery, delivery_id)


async def lock(session: AsyncSession, delivery_id: str) -> Delivery | None:
    """Return the delivery, locked until the transaction ends."""
    return await session.get(Delivery, delivery_id, with_for_update=True)


async def logs_of_batch(session: AsyncSession, batch_id: str) -> list[DeliveryLog]:
    """Return every delivery of a batch with its attempts, newest first."""
    statement = select(Delivery.id).where(Delivery.batch_id == batch_id).order_by(col(Delivery.round).desc())
    return [await get_log(session, delivery_id) for delivery_id in await session.exec(statement)]


async def get_log(session: AsyncSession, delivery_id: str) -> DeliveryLog:
    """Return an existing delivery with its attempts in order."""
    statement = select(Delivery).where(Delivery.id == delivery_id)
    delivery = (await session.exec(statement, execution_options={"populate_existing": True})).one()
    return DeliveryLog(delivery, await attempts(session, delivery_id))


async def get_for_round(session: AsyncSession, batch_id: str, *, round_number: int) -> Delivery | None:
    """Return the delivery that announces the end of this round of the batch; None until it has ended."""
    statement = select(Delivery).where(Delivery.batch_id == batch_id, Delivery.round == round_number)
    return (await session.exec(statement)).one_or_none()


async def get_for_batches(session: AsyncSession, batches: Collection[Batch]) -> dict[str, Delivery]:
    """Return the deliveries that announced the ends of the batches' current rounds, by batch id."""
    rounds = {batch.id: batch.round for batch in batches}
    found = await session.exec(select(Delivery).where(col(Delivery.batch_id).in_(rounds)))
    return {delivery.batch_id: delivery for delivery in found if delivery.round == rounds[delivery.batch_id]}


async def lease(session: AsyncSession, delivery_id: str, *, now: datetime, until: datetime) -> bool:
    """Lease a due delivery for one attempt; return False if it is not due, has ended, or is leased elsewhere."""
    result = await session.exec(
        update(Delivery)
        .where(col(Delivery.id) == delivery_id, literal_column(OPEN_DELIVERIES), col(Delivery.due_at) <= now)
        .values(due_at=until)
    )
    return bool(result.rowcount)


async def record(session: AsyncSession, attempt: DeliveryAttempt, target: DeliveryStatus, *, due_at: datetime) -> bool:
    """Store an attempt and move its pending delivery to `target`; return False if another run has stored it already."""
    result = await session.exec(
        update(Delivery)
        .where(
            col(Delivery.id) == attempt.delivery_id,
            col(Delivery.attempts) == attempt.number - 1,
            literal_column(OPEN_DELIVERIES),
        )
        .values(status=target, attempts=attempt.number, due_at=due_at)
    )
    if result.rowcount:
        session.add(attempt)
    return bool(result.rowcount)


async def due(
    session: AsyncSession, now: datetime, *, limit: int = 1_000, per_host: int = 100
) -> list[tuple[str, int]]:
    """Return (id, attempts so far) of the due deliveries, longest due first.

    At most `per_host` for each host, so that thousands for a host that is down do not hide the others.
    """
    rank = sa.func.row_number().over(partition_by=col(Delivery.host), order_by=col(Delivery.due_at)).label("place")
    waiting = (
        sa.select(col(Delivery.id), col(Delivery.attempts), col(Delivery.due_at), rank)
        .where(literal_column(OPEN_DELIVERIES), col(Delivery.due_at) <= now)
        .subquery()
    )
    statement = sa.select(waiting.c.id, waiting.c.attempts).where(waiting.c.place <= per_host)
    connection = await session.connection()
    rows = await connection.execute(statement.order_by(waiting.c.due_at).limit(limit))
    return [(delivery_id, attempts) for delivery_id, attempts in rows]


async def redeliver(session: AsyncSession, delivery_id: str, now: datetime) -> bool:
    """Make a delivery due at once and restart its schedule; return False if it does not exist."""
    result = await session.exec(
        update(Delivery)
        .where(col(Delivery.id) == delivery_id, col(Delivery.status).in_(DELIVERY_MOVES[DeliveryStatus.PENDING]))
        .values(status=DeliveryStatus.PENDING, due_at=now, schedule_from=Delivery.attempts)
    )
    return bool(result.rowcount)


async def attempts(session: AsyncSession, delivery_id: str) -> Sequence[DeliveryAttempt]:
    """Return the newest attempts of a delivery, in order."""
    statement = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    newest = await session.exec(statement.order_by(col(DeliveryAttempt.number).desc()).limit(MAX_ATTEMPTS_SHOWN))
    return newest.all()[::-1]

"""Removal of rows that are being written at the same time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import deletions, deliveries
from imgsvc.db.tables import Delivery, DeliveryAttempt
from imgsvc.domain.status import DeliveryStatus
from support.batches import batch_row, delivery_row, store
from support.stack import until

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture
def database_kind() -> str:
    return "postgres"  # on SQLite, writers queue before they begin


async def test_removing_deliveries_includes_an_attempt_being_recorded(sessions: Sessions) -> None:
    batch = batch_row("bat_1", NOW, status="completed", asset_count=0)
    await store(sessions, batch, delivery_row("evt_1", "bat_1", NOW, status="pending"))
    attempt = DeliveryAttempt(delivery_id="evt_1", number=1, at=NOW, duration=0.1)

    async def remove() -> None:
        async with sessions.write() as session:
            await deletions.remove_deliveries(session, "bat_1")

    async def removal_waits() -> bool:
        async with sessions.read() as session:
            connection = await session.connection()
            return bool(await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    async with sessions.write() as session:
        due_at = NOW + timedelta(seconds=5)
        assert await deliveries.record(session, attempt, DeliveryStatus.PENDING, due_at=due_at)
        await session.flush()
        removing = asyncio.create_task(remove())
        await until(removal_waits, within=20)
    await removing
    async with sessions.read() as session:
        for table in (Delivery, DeliveryAttempt):
            assert (await session.exec(select(table))).all() == []

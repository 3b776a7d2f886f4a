"""Statements read only their part of a large batch, also by plans that Postgres made while all batches were small."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import plan_on_indexes
from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches, deletions, leases, outcomes
from imgsvc.db.tables import Asset, Product
from support.batches import asset_row, batch_row, store

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
LARGE = 12_000
UNTIL_THE_PLAN_IS_KEPT = 8
"""Postgres plans a prepared statement again five times before it may keep a plan."""
Query = Callable[[AsyncSession, str], Awaitable[Any]]

pytestmark = pytest.mark.parametrize("database_kind", ["postgres"])


def on_indexes(query: Query) -> Query:
    """Return `query` as lanes, cancellations and retries run it."""

    async def run(session: AsyncSession, batch_id: str) -> None:
        await plan_on_indexes(session)
        await query(session, batch_id)

    return run


async def rows_read(sessions: Sessions, query: Query, batch_id: str) -> int:
    """Run `query` on a batch, undo it, and return the rows that it read."""
    tables = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
    async with sessions.write() as session:
        await query(session, batch_id)
        connection = await session.connection()
        read = (await connection.execute(text(tables))).scalar_one()
        await connection.rollback()
    return int(read)


@pytest.fixture(autouse=True)
async def small(sessions: Sessions) -> None:
    """Two hundred batches of one product and one asset, most of them ended, and their statistics."""
    ids = [f"bat_{number:03}" for number in range(200)]
    await store(sessions, *[batch_row(batch_id, NOW, asset_count=1) for batch_id in ids])
    statuses = ["pending"] * 20 + ["succeeded"] * 180
    await store(
        sessions, *[asset_row(batch_id, 0, NOW, status=each) for batch_id, each in zip(ids, statuses, strict=True)]
    )
    async with sessions.write() as session:
        await batches.insert_rows(session, Product, (product(batch_id, 0) for batch_id in ids))
    await analyze(sessions)


@pytest.mark.parametrize(
    "query",
    [
        on_indexes(lambda s, batch: leases.hosts(s, batch, after=-1, limit=256)),
        on_indexes(
            lambda s, batch: leases.claim(s, batch, token="t", in_flight=[3], now=NOW, until=NOW, limits={0: 64})
        ),
        on_indexes(lambda s, batch: outcomes.write_outcomes(s, batch, "t", [outcome(at) for at in range(64)])),
        on_indexes(lambda s, batch: assets.cancel_open(s, batch, range(64), code="cancelled", detail="", now=NOW)),
        on_indexes(lambda s, batch: assets.reset_failed(s, batch, range(64), now=NOW)),
        lambda s, batch: assets.at_positions(s, batch, range(64)),
    ],
    ids=["hosts", "claim", "outcomes", "cancel", "reset", "assets"],
)
async def test_a_plan_for_small_batches_does_not_read_all_of_a_large_one(sessions: Sessions, query: Query) -> None:
    for number in range(UNTIL_THE_PLAN_IS_KEPT):
        await rows_read(sessions, query, f"bat_{number:03}")
    await store_large(sessions)
    assert await rows_read(sessions, query, "bat_large") < LARGE / 2


@pytest.mark.parametrize("remove", [deletions.remove_assets, deletions.remove_products])
async def test_removing_a_slice_does_not_read_all_of_a_large_batch(
    sessions: Sessions, remove: Callable[[AsyncSession, str], Awaitable[object]]
) -> None:
    await store_large(sessions)
    await analyze(sessions)
    assert await rows_read(sessions, remove, "bat_large") < LARGE


async def analyze(sessions: Sessions) -> None:
    async with sessions.write() as session:
        await (await session.connection()).execute(text("ANALYZE"))


async def store_large(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_large", NOW, asset_count=LARGE))
    async with sessions.write() as session:
        await batches.insert_rows(session, Product, (product("bat_large", at) for at in range(LARGE)))
        await batches.insert_rows(session, Asset, (asset_row("bat_large", at, NOW).model_dump() for at in range(LARGE)))


def outcome(position: int) -> dict[str, Any]:
    asset = asset_row("bat_large", position, NOW).model_dump()
    return {name: asset[name] for name in ("position", *outcomes.OUTCOME_COLUMNS)}


def product(batch_id: str, position: int) -> dict[str, Any]:
    row = {"batch_id": batch_id, "position": position, "serial_number": "1", "product_name": "a"}
    return {**row, "cells": ["1", "a"], "slots": [position]}

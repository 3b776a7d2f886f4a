"""Frequent statements touch only open rows: SQLite's query plans name the index."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches, deletions, deliveries, leases, outcomes, reuse
from support.batches import asset_row, batch_row, delivery_row, store
from support.databases import ONLY_SQLITE

pytestmark = ONLY_SQLITE
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
Query = Callable[[AsyncSession], Awaitable[Any]]


async def plan(sessions: Sessions, query: Query) -> list[str]:
    """Return the plan of the first SELECT or UPDATE that `query` sends."""
    sent: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    engine = sessions.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    async with sessions.write() as session:
        await query(session)
    event.remove(engine, "before_cursor_execute", record)
    statement, parameters = next(pair for pair in sent if pair[0].split()[0] in ("SELECT", "UPDATE", "WITH"))
    async with sessions.read() as session:
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row.detail for row in rows]


@pytest.fixture(autouse=True)
async def shop(sessions: Sessions) -> None:
    """A large batch that is nearly done, many finished ones, and up-to-date statistics."""
    await store(sessions, batch_row("bat_1", NOW, asset_count=2_000), delivery_row("evt_1", "bat_1", NOW))
    await store(sessions, *[batch_row(f"bat_{number}", NOW, status="completed") for number in range(2, 200)])
    delivered = [delivery_row(f"evt_{number}", f"bat_{number}", NOW, status="delivered") for number in range(2, 200)]
    await store(sessions, *delivered)
    ended = [asset_row("bat_1", position, NOW, status="succeeded") for position in range(1_990)]
    await store(sessions, *ended, *[asset_row("bat_1", position, NOW) for position in range(1_990, 2_000)])
    async with sessions.write() as session:
        await (await session.connection()).execute(text("ANALYZE"))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            lambda s: leases.claim(s, "bat_1", token="t", in_flight=[3, 5], now=NOW, until=NOW, limits={0: 64}),
            "ix_asset_open_by_host",
        ),
        (lambda s: leases.hosts(s, "bat_1", after=-1, limit=9), "ix_asset_open_by_host"),
        (lambda s: batches.open_page(s, after="bat_0"), "ix_batch_open"),
        (lambda s: deletions.due_for_clean_up(s, NOW), "ix_batch_untidy"),
        (lambda s: deletions.expired(s, NOW), "ix_batch_expiring"),
    ],
    ids=["claim", "hosts", "open batches", "untidy", "expired"],
)
async def test_only_open_rows_are_scanned(sessions: Sessions, query: Query, index: str) -> None:
    steps = await plan(sessions, query)
    assert any(index in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


async def test_only_pending_deliveries_are_scanned(sessions: Sessions) -> None:
    steps = await plan(sessions, lambda s: deliveries.due(s, NOW))
    assert any("SEARCH delivery USING INDEX ix_delivery_open" in step for step in steps), steps


@pytest.mark.parametrize(
    "query",
    [
        lambda s: outcomes.write_outcomes(s, "bat_1", "t", [{"position": 1}]),
        lambda s: assets.at_positions(s, "bat_1", [1, 2, 3]),
        lambda s: batches.products_page(s, "bat_1", after=5, limit=100),
        lambda s: batches.progress(s, ["bat_1", "bat_2"]),
    ],
    ids=["write_outcomes", "at_positions", "products_page", "versions"],
)
async def test_rows_are_found_by_their_key_and_no_table_is_scanned(sessions: Sessions, query: Query) -> None:
    steps = await plan(sessions, query)
    assert all(step.startswith("SEARCH") for step in steps), steps


async def test_earlier_results_are_found_by_index(sessions: Sessions) -> None:
    steps = await plan(sessions, lambda s: reuse.previous_results(s, ["a" * 64, "b" * 64]))
    assert all(step.startswith("SEARCH") for step in steps), steps

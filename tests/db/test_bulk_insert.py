"""Bulk inserts: rows are written in slices, so that the event loop is not blocked."""

from collections.abc import Sized
from datetime import UTC, datetime

from sqlalchemy import event
from sqlmodel import func, select

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.db.tables import Asset
from support.batches import asset_row, batch_row, store

DEFAULTS = 5
"""Columns that SQLAlchemy adds with their defaults: host_number, attempts, lost, and two kinds of failures."""
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


async def test_sqlite_gets_many_rows_per_statement_and_postgres_many_rows_per_call(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    calls: list[tuple[int, int]] = []
    """Rows per statement, and the number of parameters, or of sets of them."""

    def record(_: object, __: object, statement: str, parameters: Sized, *____: object) -> None:
        if statement.startswith("INSERT INTO asset"):
            calls.append((statement.count("), (") + 1, len(parameters)))

    event.listen(sessions.engine.sync_engine, "before_cursor_execute", record)
    rows = (asset_row("bat_1", position, NOW).model_dump(exclude_unset=True) for position in range(600))
    async with sessions.write() as session:
        await batches.insert_rows(session, Asset, rows)
    async with sessions.read() as session:
        assert (await session.exec(select(func.count()).select_from(Asset))).one() == 600
    width = len(asset_row("bat_1", 0, NOW).model_dump(exclude_unset=True)) + DEFAULTS
    slices = [250, 250, 100]
    if sessions.engine.dialect.name == "sqlite":
        assert calls == [(size, size * width) for size in slices]
    else:
        assert calls == [(1, size) for size in slices]

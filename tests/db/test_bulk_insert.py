"""Rows of an upload: written many at a time, in slices that leave the event loop its turns."""

from collections.abc import Sized
from datetime import UTC, datetime

from sqlalchemy import event
from sqlmodel import func, select

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches
from imgsvc.db.tables import Asset
from support.batches import asset_row, batch_row, store

DEFAULTS = 4
"""Columns that SQLAlchemy fills in: attempts, lost, storage_failures, quarantine_failures."""
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


async def test_sqlite_gets_many_rows_in_one_statement_and_postgres_one_call_for_many(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    calls: list[tuple[int, int]] = []
    """Rows in the statement, and parameters or sets of them."""

    def note(_: object, __: object, statement: str, parameters: Sized, *____: object) -> None:
        if statement.startswith("INSERT INTO asset"):
            calls.append((statement.count("), (") + 1, len(parameters)))

    event.listen(sessions.engine.sync_engine, "before_cursor_execute", note)
    rows = (asset_row("bat_1", position, NOW).model_dump(exclude_unset=True) for position in range(600))
    async with sessions.write() as session:
        await batches.insert_rows(session, Asset, rows)
    async with sessions.read() as session:
        assert (await session.exec(select(func.count()).select_from(Asset))).one() == 600
    width = len(asset_row("bat_1", 0, NOW).model_dump(exclude_unset=True)) + DEFAULTS
    rows_of = [250, 250, 100]
    if sessions.engine.dialect.name == "sqlite":
        assert calls == [(rows, rows * width) for rows in rows_of]
    else:
        assert calls == [(1, rows) for rows in rows_of]

"""The database fails in the middle of a batch: the lane waits, nothing is done twice, and the counters stay exact."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Self

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Batch
from imgsvc.errors import NotAnImage
from imgsvc.services.processing.outcomes import Failed, Outcome
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import assets_of, consistent_batch, submit_batch
from support.databases import ONLY_SQLITE, Postgres
from support.lanes import flush, until, work
from support.origin_server import OriginServer, image_bytes

pytestmark = pytest.mark.slow

ONLY_POSTGRES = pytest.mark.parametrize("database_kind", ["postgres"])
COUNT = 24


async def new_batch(resources: Resources, origin: OriginServer) -> Batch:
    return await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes(), delay=0.1) for n in range(COUNT)])


def start_lane(batch: Batch, resources: Resources, processor: AssetProcessor) -> "asyncio.Task[bool]":
    """Start a lane that processes the batch a few assets at a time."""
    return asyncio.create_task(work(batch.id, resources, processor, assets=4, flush_assets=2, yield_after=60))


async def in_the_middle(lane: "asyncio.Task[bool]", origin: OriginServer) -> None:
    await until(lambda: len(origin.requests) >= COUNT // 2)
    assert not lane.done()


async def assert_all_done_once(resources: Resources, batch: Batch, origin: OriginServer) -> None:
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded) == ("completed", COUNT)
    assert {origin.hits(f"/{number}.jpg") for number in range(COUNT)} == {1}
    assert {asset.lost for asset in await assets_of(resources.sessions, batch.id)} == {0}


class Refusals:
    """A count of the failed calls to the database."""

    def __init__(self, sessions: Sessions) -> None:
        self.count = 0
        self._sessions = sessions

    def __enter__(self) -> Self:
        event.listen(self._sessions.engine.sync_engine, "do_connect", self._note)
        event.listen(self._sessions.engine.sync_engine, "handle_error", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._sessions.engine.sync_engine, "do_connect", self._note)
        event.remove(self._sessions.engine.sync_engine, "handle_error", self._note)

    def _note(self, *_: object) -> None:
        self.count += 1


@ONLY_POSTGRES
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_lane_waits_while_postgres_is_stopped_in_the_middle_of_a_batch(
    resources: Resources,
    processor: AssetProcessor,
    origin: OriginServer,
    postgres: Postgres,
    caplog: pytest.LogCaptureFixture,
    how: signal.Signals,
) -> None:
    batch = await new_batch(resources, origin)
    lane = start_lane(batch, resources, processor)
    await in_the_middle(lane, origin)
    caplog.clear()
    with postgres.stopped(how):  # its own connections are not events of the engine, so the logged retries are counted
        await until(lambda: sum("retry_num" in record.getMessage() for record in caplog.records) >= 4 or lane.done())
    assert await lane is False
    await assert_all_done_once(resources, batch, origin)


@pytest.fixture
async def impatient(resources: Resources) -> AsyncIterator[Resources]:
    """Resources that soon give up waiting for SQLite's lock."""
    sessions = open_sessions(resources.settings.database, busy_timeout=0.05)
    yield replace(resources, sessions=sessions)
    await sessions.aclose()


@ONLY_SQLITE
async def test_a_lane_waits_while_sqlite_is_locked_in_the_middle_of_a_batch(
    impatient: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await new_batch(impatient, origin)
    lane = start_lane(batch, impatient, processor)
    await in_the_middle(lane, origin)
    path = impatient.settings.data_dir / "imgsvc.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as intruder:
        with Refusals(impatient.sessions) as refusals:
            await asyncio.to_thread(intruder.execute, "BEGIN IMMEDIATE")  # in a thread: the lane may hold it
            await until(lambda: refusals.count >= 4 or lane.done())
        intruder.execute("ROLLBACK")
    assert await lane is False
    await assert_all_done_once(impatient, batch, origin)


@ONLY_SQLITE
async def test_a_lane_waits_while_the_disk_is_full_in_the_middle_of_a_batch(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    max_pages = 2**30

    def limit_pages(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {max_pages}")  # 1: no more than the pages in use
        cursor.close()

    event.listen(resources.sessions.engine.sync_engine, "checkout", limit_pages)
    batch, max_pages = await new_batch(resources, origin), 1
    lane = start_lane(batch, resources, processor)
    with Refusals(resources.sessions) as refusals:
        await until(lambda: refusals.count >= 2)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "processing"
    max_pages = 2**30
    assert await lane is False
    await assert_all_done_once(resources, batch, origin)


async def test_a_flush_that_fails_half_way_moves_nothing_and_the_next_moves_all(resources: Resources) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg", "http://shop.example/2.jpg"])
    claimed = await flush(batch.id, resources, token="mine", claim=2)
    before = await consistent_batch(resources.sessions, batch.id)
    outcomes: list[Outcome] = [Failed(asset, 1, NotAnImage()) for asset in claimed]
    await execute(resources, "CREATE UNIQUE INDEX once ON asset (error_code)")  # the second row cannot be written
    with pytest.raises(IntegrityError):
        await flush(batch.id, resources, token="mine", outcomes=outcomes)
    assert (await consistent_batch(resources.sessions, batch.id)).version == before.version

    await execute(resources, "DROP INDEX once")
    await flush(batch.id, resources, token="mine", outcomes=outcomes)
    ended = await consistent_batch(resources.sessions, batch.id)
    assert (ended.status, ended.failed) == ("failed", 2)


async def execute(resources: Resources, statement: str) -> None:
    async with resources.sessions.write() as session:
        await (await session.connection()).execute(text(statement))

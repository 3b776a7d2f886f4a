"""The reply to a commit is lost: what it wrote is found again, and nothing is done twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest
from sqlalchemy import make_url

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import open_sessions
from imgsvc.db.tables import Batch
from imgsvc.errors import NotAnImage
from imgsvc.services.processing.batch_hosts import BatchHosts
from imgsvc.services.processing.lane import Lane
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.outcomes import Failed, Outcome
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import assets_of, consistent_batch, submit_batch
from support.lanes import HeldOrigin, fetching_with, flush, plan, until


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # its lock makes the next try fail when the test wants it


@pytest.fixture
async def impatient(resources: Resources) -> AsyncIterator[Resources]:
    """Resources on a database that is unavailable while another program writes."""
    sessions = open_sessions(resources.settings.database, busy_timeout=0.02)
    yield replace(resources, sessions=sessions)
    await sessions.aclose()


@asynccontextmanager
async def locked(resources: Resources) -> AsyncIterator[None]:
    """Hold SQLite's write lock as another program."""
    with closing(sqlite3.connect(make_url(resources.settings.database).database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def wait_for_failed_write(resources: Resources) -> None:
    """Wait until a write has been tried and given up because of the lock."""
    await until(lambda: resources.sessions.engine.pool.checkedout() > 0)  # type: ignore[attr-defined]
    await until(lambda: resources.sessions.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]


def make_lane(batch: Batch, resources: Resources, processor: AssetProcessor, **policy: int) -> Lane:
    clock, hosts = resources.clock, processor.fetching.hosts
    return Lane(
        0,
        plan(batch.id),
        hosts=BatchHosts(plan(batch.id), limiter=hosts, sessions=resources.sessions, clock=clock),
        sessions=resources.sessions,
        queue=resources.queue,
        processor=processor,
        retention=resources.retention,
        clock=resources.clock,
        policy=LanePolicy(flush_interval=0.02, yield_after=60, **policy),
        stopping=asyncio.Event(),
    )


async def test_a_run_gets_its_unacknowledged_claims_and_writes_nothing_twice(impatient: Resources) -> None:
    batch = await submit_batch(impatient, [f"http://shop.example/{number}.jpg" for number in range(6)])
    [first, second] = await flush(batch.id, impatient, token="mine", claim=2)
    done: list[Outcome] = [Failed(first, 1, NotAnImage())]
    await flush(batch.id, impatient, token="mine", outcomes=done, claim=2)  # commits, but the run never sees the reply

    async with locked(impatient):
        again = asyncio.create_task(
            flush(batch.id, impatient, token="mine", outcomes=done, claim=3, in_flight=[second.position])
        )
        await wait_for_failed_write(impatient)
    claimed = await again

    assert [asset.position for asset in claimed] == [2, 3]
    batch = await consistent_batch(impatient.sessions, batch.id)
    assert (batch.failed, batch.processing) == (1, 3)
    assert {asset.lost for asset in await assets_of(impatient.sessions, batch.id)} == {0}


async def test_a_lane_that_ends_hands_back_its_unacknowledged_claims(
    impatient: Resources, processor: AssetProcessor
) -> None:
    batch = await submit_batch(impatient, [f"http://shop.example/{number}.jpg" for number in range(6)])
    origin = HeldOrigin()
    lane = make_lane(batch, impatient, fetching_with(processor, origin=origin), assets=2)
    running = asyncio.create_task(lane.run())
    await until(lambda: len(origin.waiting) == 2)
    await flush(batch.id, impatient, token=lane.token, claim=2)  # commits, but the lane never sees the reply

    async with locked(impatient):
        running.cancel()
        await wait_for_failed_write(impatient)
    await asyncio.gather(running, return_exceptions=True)
    assert len(origin.waiting) == 2
    assert not lane.in_flight
    rows = await assets_of(impatient.sessions, batch.id)
    assert {(row.status, row.claim, row.lost, row.attempts) for row in rows} == {("pending", None, 0, 0)}
    await consistent_batch(impatient.sessions, batch.id)

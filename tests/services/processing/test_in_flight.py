"""The number of assets that a lane processes concurrently."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.worker_stats import REUSED, SUCCEEDED
from support.batches import ManualClock, batch_of, consistent_batch, submit_batch
from support.lanes import HeldOrigin, fetching_with, until, work

SLOTS = 8


async def test_a_lane_makes_four_conditional_fetches_for_each_image_it_could_fetch(
    resources: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    held = fetching_with(processor, origin=origin)
    urls = [f"http://127.0.0.1/{number}.jpg" for number in range(5 * SLOTS)]
    assert isinstance(resources.clock, ManualClock)

    batch = await submit_batch(resources, urls)
    lane = asyncio.create_task(work(batch.id, resources, held, assets=SLOTS))
    for _ in range(5):
        await origin.respond_to(SLOTS)
    await lane
    await consistent_batch(resources.sessions, batch.id)

    resources.clock.forward(1)
    batch = await submit_batch(resources, urls)
    lane = asyncio.create_task(
        work(
            batch.id,
            resources,
            held,
            assets=SLOTS,
            flush_assets=1,
            flush_interval=1_000,
            idle_flush_interval=1_000,
        )
    )
    await origin.respond_to(4 * SLOTS)  # without an answer to the first of them
    await origin.respond_to(SLOTS)
    await lane
    await consistent_batch(resources.sessions, batch.id)


class CountingSessions:
    """Sessions that count the transactions that write."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.read = sessions.read
        self.writes = 0

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        self.writes += 1
        async with self._sessions.write() as session:
            yield session


async def test_conditional_fetches_are_written_by_as_many_as_fill_the_slots_of_a_flush(
    resources: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    held = fetching_with(processor, origin=origin)
    urls = [f"http://127.0.0.1/{number}.jpg" for number in range(4 * SLOTS)]
    assert isinstance(resources.clock, ManualClock)
    counting = CountingSessions(resources.sessions)
    policy: dict[str, Any] = {
        "assets": SLOTS,
        "flush_assets": SLOTS // 2,
        "flush_interval": 1_000,
        "idle_flush_interval": 1_000,
    }

    def begin(batch: Batch) -> asyncio.Task[bool]:
        return asyncio.create_task(
            work(batch.id, replace(resources, sessions=cast("Sessions", counting)), held, **policy)
        )

    async def respond(count: int) -> None:
        """Respond to some requests, and give the lane a round trip to the database to write the results."""
        ended = sum(held.stats.counts[name] for name in (SUCCEEDED, REUSED)) + count
        while count:
            count -= 1
            origin.waiting.pop().set()
        await until(lambda: sum(held.stats.counts[name] for name in (SUCCEEDED, REUSED)) == ended)
        await batch_of(resources.sessions, batch.id)

    batch = await submit_batch(resources, urls)
    lane = begin(batch)
    await until(lambda: len(origin.waiting) == SLOTS)
    writes = counting.writes
    await respond(SLOTS // 2)
    assert counting.writes > writes
    while not lane.done():
        await until(lambda: lane.done() or len(origin.waiting) > 0)
        origin.respond()
    await lane

    resources.clock.forward(1)
    batch = await submit_batch(resources, urls)
    lane = begin(batch)
    await until(lambda: len(origin.waiting) == 4 * SLOTS)
    writes = counting.writes
    await respond(2 * SLOTS - 1)
    assert counting.writes == writes
    await respond(1)
    assert counting.writes > writes
    origin.respond()
    await lane
    await consistent_batch(resources.sessions, batch.id)

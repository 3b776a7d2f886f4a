"""Several lanes at once: every asset is done exactly once, and lanes yield to others."""

import asyncio
from dataclasses import replace

import pytest

from imgsvc.bootstrap import Resources, open_asset_processor, open_resources
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import RecordingQueue, assets_of, consistent_batch, deliveries_of, submit_batch
from support.lanes import until, work
from support.origin_server import OriginServer, image_bytes

pytestmark = pytest.mark.slow

COUNT = 60


def urls(origin: OriginServer, *, delay: float = 0.0, count: int = COUNT) -> list[str]:
    return [origin.serve(f"/{number}.jpg", image_bytes(), delay=delay) for number in range(count)]


async def test_lanes_of_one_worker_process_every_asset_once_and_announce_once(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, queue: RecordingQueue
) -> None:
    batch = await submit_batch(resources, urls(origin), webhook_url="http://shop.example/hook")
    lanes = [work(batch.id, resources, processor, queue=queue, assets=5, flush_assets=3) for _ in range(6)]
    assert await asyncio.gather(*lanes) == [False] * 6

    assert {origin.hits(f"/{number}.jpg") for number in range(COUNT)} == {1}
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded) == ("completed", COUNT)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    assert queue.deliveries == [(delivery.id, 1, None)]


async def test_lanes_of_two_processes_process_every_asset_once(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, urls(origin))
    async with open_resources(resources.settings) as elsewhere, open_asset_processor(elsewhere) as other_processor:
        other_resources = replace(elsewhere, clock=resources.clock)
        here = [work(batch.id, resources, processor, assets=4, flush_assets=2) for _ in range(2)]
        there = [work(batch.id, other_resources, other_processor, assets=4, flush_assets=2) for _ in range(2)]
        await asyncio.gather(*here, *there)
    assert {origin.hits(f"/{number}.jpg") for number in range(COUNT)} == {1}
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded == COUNT


async def test_counters_are_exact_at_every_moment(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, [*urls(origin, delay=0.02), origin.url("/status/404")])
    lane = asyncio.create_task(work(batch.id, resources, processor, assets=4, flush_assets=2))
    seen = set()
    while not lane.done():
        seen.add((await consistent_batch(resources.sessions, batch.id)).succeeded)
    assert await lane is False
    assert len(seen) > 3
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded == COUNT


async def test_a_slow_asset_does_not_hold_up_the_others(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    slow = origin.serve("/slow.jpg", image_bytes(), delay=600)
    batch = await submit_batch(resources, [slow, *urls(origin)])
    lane = asyncio.create_task(work(batch.id, resources, processor, assets=8))
    await until(lambda: len(origin.requests) == COUNT + 1)
    lane.cancel()
    await asyncio.gather(lane, return_exceptions=True)
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded >= COUNT - 8


# -- yielding ---------------------------------------------------------------------------------------------------------


async def test_a_lane_ends_early_when_others_wait(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, queue: RecordingQueue
) -> None:
    queue.waiting_lanes = 1
    batch = await submit_batch(resources, urls(origin, delay=0.1))
    assert await work(batch.id, resources, processor, queue=queue, assets=2, yield_after=0.2) is True
    assert 0 < (await consistent_batch(resources.sessions, batch.id)).succeeded < COUNT


@pytest.mark.parametrize("unavailable", [True, False])
async def test_a_lane_continues_when_no_other_waits_or_redis_is_unavailable(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, queue: RecordingQueue, unavailable: bool
) -> None:
    batch = await submit_batch(resources, urls(origin, delay=0.1, count=20), webhook_url="http://shop.example/hook")
    queue.is_unavailable = unavailable
    assert await work(batch.id, resources, processor, queue=queue, assets=2, yield_after=0.2) is False
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert len(await deliveries_of(resources.sessions, batch.id)) == 1


async def test_a_lane_ends_after_its_lifetime_in_any_case(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, urls(origin, delay=0.1))
    assert await work(batch.id, resources, processor, assets=2, lifetime=0.3) is True
    assert {asset.status for asset in await assets_of(resources.sessions, batch.id)} == {"pending", "succeeded"}
    await consistent_batch(resources.sessions, batch.id)


async def test_the_next_lane_continues_where_the_last_one_stopped(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, urls(origin, delay=0.05))
    runs = 1
    while await work(batch.id, resources, processor, assets=6, lifetime=0.2):
        runs += 1
    assert runs > 1
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert len(origin.requests) == COUNT

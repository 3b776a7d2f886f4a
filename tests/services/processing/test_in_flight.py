"""The number of assets that a lane processes concurrently."""

import asyncio

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, consistent_batch, submit_batch
from support.lanes import HeldOrigin, fetching_with, work

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

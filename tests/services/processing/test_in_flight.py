"""How much a lane takes on at one time."""

import asyncio

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, consistent_batch, submit_batch
from support.lanes import HeldOrigin, fetching_with, work

PLACES = 8


async def test_a_lane_asks_four_times_as_many_questions_as_it_fetches_images(
    parts: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    bench = fetching_with(processor, origin=origin)
    urls = [f"http://127.0.0.1/{number}.jpg" for number in range(5 * PLACES)]
    assert isinstance(parts.clock, ManualClock)

    batch = await submit_batch(parts, urls)
    lane = asyncio.create_task(work(batch.id, parts, bench, assets=PLACES))
    for _ in range(5):
        await origin.answer_to(PLACES)
    await lane
    await consistent_batch(parts.sessions, batch.id)

    parts.clock.forward(1)
    batch = await submit_batch(parts, urls)
    lane = asyncio.create_task(work(batch.id, parts, bench, assets=PLACES))
    await origin.answer_to(PLACES)
    await origin.answer_to(4 * PLACES)
    await lane
    await consistent_batch(parts.sessions, batch.id)

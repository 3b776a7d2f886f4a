"""How much a lane takes on at one time."""

import asyncio

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import HandClock, exact, submitted
from support.lanes import HeldOrigin, fetching_with, work

PLACES = 8


async def test_a_lane_asks_four_times_as_many_questions_as_it_fetches_images(
    resources: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    bench = fetching_with(processor, origin=origin)
    urls = [f"http://127.0.0.1/{number}.jpg" for number in range(5 * PLACES)]
    assert isinstance(resources.clock, HandClock)

    batch = await submitted(resources, urls)
    lane = asyncio.create_task(work(batch.id, resources, bench, assets=PLACES))
    for _ in range(5):
        await origin.answer_to(PLACES)
    await lane
    await exact(resources.sessions, batch.id)

    resources.clock.forward(1)
    batch = await submitted(resources, urls)
    lane = asyncio.create_task(work(batch.id, resources, bench, assets=PLACES))
    await origin.answer_to(PLACES)
    await origin.answer_to(4 * PLACES)
    await lane
    await exact(resources.sessions, batch.id)

"""An origin fails in the middle of a batch: its images wait for it, then fail; others are not delayed."""

import asyncio

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.batches import ManualClock, assets_of, consistent_batch, submit_batch
from support.lanes import fetching_with, until, work, work_until_ended
from support.origin_server import OriginServer, image_bytes

IMAGES = 8


async def test_an_origin_that_fails_mid_batch_is_reported_and_the_others_continue(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    impatient = HostLimiter(maximum=64, patience=30, clock=lambda: clock().timestamp())
    processor = fetching_with(processor, hosts=impatient)
    steady = [origin.serve(f"/{number}.jpg", image_bytes(), delay=0.3) for number in range(IMAGES)]
    async with OriginServer() as failing:
        lost = [failing.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submit_batch(resources, [*lost, *steady])
        lane = asyncio.create_task(work(batch.id, resources, processor))
        await until(lambda: len(failing.requests) == IMAGES)
    assert await lane is False
    await work_until_ended(batch.id, resources, processor, clock)

    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.errors) == (
        "completed_with_errors", IMAGES, {"connect_error": IMAGES},
    )  # fmt: skip
    failed = [asset for asset in await assets_of(resources.sessions, batch.id) if asset.status == "failed"]
    assert {(asset.attempts, asset.error_detail) for asset in failed} == {
        (1, "The connection to the server failed or was interrupted.")
    }
    assert {asset.origin_url for asset in failed} == set(lost)


async def test_an_origin_that_is_away_for_long_costs_no_image_and_no_attempt(
    resources: Resources, processor: AssetProcessor, clock: ManualClock
) -> None:
    async with OriginServer() as failing:
        urls = [failing.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submit_batch(resources, urls)
        lane = asyncio.create_task(work(batch.id, resources, processor))
        await until(lambda: len(failing.requests) == IMAGES)
        port = failing.port
    await lane
    for _ in range(100):
        clock.forward(5)
        await work(batch.id, resources, processor)
    async with OriginServer(port=port) as restarted:
        for number in range(IMAGES):
            restarted.serve(f"/{number}.jpg", image_bytes())
        await work_until_ended(batch.id, resources, processor, clock)
        assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
        assert {asset.attempts for asset in await assets_of(resources.sessions, batch.id)} == {1}

"""An origin fails in the middle of a batch: it is tried again, then reported; other origins are not delayed."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from support.batches import assets_of, consistent_batch, submit_batch
from support.lanes import until, work
from support.origin_server import OriginServer, image_bytes

IMAGES = 8


async def test_an_origin_that_fails_mid_batch_is_reported_and_the_others_continue(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    steady = [origin.serve(f"/{number}.jpg", image_bytes(), delay=0.3) for number in range(IMAGES)]
    async with OriginServer() as failing:
        lost = [failing.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submit_batch(resources, [*lost, *steady])
        lane = asyncio.create_task(work(batch.id, resources, processor))
        await until(lambda: len(failing.requests) == IMAGES)
    assert await lane is False

    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.errors) == (
        "completed_with_errors", IMAGES, {"connect_error": IMAGES},
    )  # fmt: skip
    failed = [asset for asset in await assets_of(resources.sessions, batch.id) if asset.status == "failed"]
    assert {(asset.attempts, asset.error_detail) for asset in failed} == {
        (3, "The connection to the server failed or was interrupted.")
    }
    assert {asset.origin_url for asset in failed} == set(lost)


async def test_an_origin_that_recovers_before_the_last_attempt_costs_no_image(
    resources: Resources, processor: AssetProcessor
) -> None:
    patient = replace(processor, retries=RetryPolicy(base=timedelta(milliseconds=20), factor=1, max_attempts=1_000))
    async with OriginServer() as failing:
        urls = [failing.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submit_batch(resources, urls)
        lane = asyncio.create_task(work(batch.id, resources, patient))
        await until(lambda: len(failing.requests) == IMAGES)
        port = failing.port
    async with OriginServer(port=port) as restarted:
        for number in range(IMAGES):
            restarted.serve(f"/{number}.jpg", image_bytes())
        await lane
        assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"

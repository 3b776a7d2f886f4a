"""An origin goes away in the middle of a batch: it is tried again, then named; the others are not held up."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from support.batches import assets_of, exact, submitted
from support.lanes import until, work
from support.origin_server import OriginServer, image_bytes

IMAGES = 8


async def test_an_origin_that_goes_away_in_the_middle_is_named_and_the_others_go_on(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    steady = [origin.serve(f"/{number}.jpg", image_bytes(), delay=0.3) for number in range(IMAGES)]
    async with OriginServer() as mortal:
        doomed = [mortal.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submitted(resources, [*doomed, *steady])
        lane = asyncio.create_task(work(batch.id, resources, processor))
        await until(lambda: len(mortal.requests) == IMAGES)
    assert await lane is False

    batch = await exact(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.errors) == (
        "completed_with_errors", IMAGES, {"connect_error": IMAGES},
    )  # fmt: skip
    failed = [asset for asset in await assets_of(resources.sessions, batch.id) if asset.status == "failed"]
    assert {(asset.attempts, asset.error_detail) for asset in failed} == {
        (3, "The connection to the server could not be made or broke off.")
    }
    assert {asset.origin_url for asset in failed} == set(doomed)


async def test_an_origin_that_comes_back_before_the_last_attempt_loses_nothing(
    resources: Resources, processor: AssetProcessor
) -> None:
    patient = replace(processor, retries=RetryPolicy(base=timedelta(milliseconds=20), factor=1, max_attempts=1_000))
    async with OriginServer() as mortal:
        urls = [mortal.serve(f"/{number}.jpg", image_bytes(), delay=600) for number in range(IMAGES)]
        batch = await submitted(resources, urls)
        lane = asyncio.create_task(work(batch.id, resources, patient))
        await until(lambda: len(mortal.requests) == IMAGES)
        port = mortal.port
    async with OriginServer(port=port) as reborn:
        for number in range(IMAGES):
            reborn.serve(f"/{number}.jpg", image_bytes())
        await lane
        assert (await exact(resources.sessions, batch.id)).status == "completed"

"""A lane processes a batch: assets succeed, are tried again, or are given up."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, Validators
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from support.batches import ManualClock, RecordingQueue, assets_of, consistent_batch, deliveries_of, submit_batch
from support.images import decoded
from support.lanes import fetching_with, work, work_until_ended
from support.origin_server import OriginServer, image_bytes
from support.storage import load, media, media_folder


def serve_all(origin: OriginServer, count: int, *, delay: float = 0.0) -> list[str]:
    return [origin.serve(f"/{number}.jpg", image_bytes(64, 40 + number % 7), delay=delay) for number in range(count)]


async def test_a_batch_is_processed_in_the_order_of_its_positions(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, queue: RecordingQueue
) -> None:
    batch = await submit_batch(resources, serve_all(origin, 40), webhook_url="http://shop.example/hook")
    assert await work(batch.id, resources, processor, queue=queue, assets=1) is False

    assert [request.path for request in origin.requests] == [f"/{number}.jpg" for number in range(40)]
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.processing) == ("completed", 40, 0)
    assert batch.finished_at == resources.clock()
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    assert queue.deliveries == [(delivery.id, 1, None)]


async def test_a_rendition_is_stored_under_the_key_in_its_asset(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(320, 200), headers={"ETag": '"one"', "Last-Modified": "yesterday"})
    batch = await submit_batch(resources, [url])
    await work(batch.id, resources, processor)

    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.attempts, asset.lost, asset.claim) == ("succeeded", 1, 0, None)
    assert (asset.input_format, asset.width, asset.height) == ("jpeg", 320, 200)
    assert (asset.input_bytes, asset.etag, asset.last_modified) == (len(image_bytes(320, 200)), '"one"', "yesterday")
    [rendition] = asset.renditions or []
    data = await load(resources.storage, rendition["key"])
    assert len(data) == rendition["bytes"]
    assert decoded(data).size == (rendition["width"], rendition["height"]) == (320, 200)


# -- retries ----------------------------------------------------------------------------------------------------------


async def test_a_host_that_refuses_briefly_is_asked_again_and_costs_no_attempt(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, [origin.url("/flaky/2")])
    await work_until_ended(batch.id, resources, processor, clock)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.attempts, asset.lost) == ("succeeded", 1, 0)
    assert origin.hits("/flaky/2") == 3


async def test_an_image_that_keeps_failing_among_others_is_given_up_after_three_attempts(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, [*serve_all(origin, 12), origin.url("/status/500")])
    await work_until_ended(batch.id, resources, processor, clock, assets=1)
    asset = (await assets_of(resources.sessions, batch.id))[-1]
    assert (asset.status, asset.error_code, asset.http_status, asset.attempts) == ("failed", "http_500", 500, 3)
    assert origin.hits("/status/500") == 3
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.errors) == ("completed_with_errors", {"http_500": 1})


@pytest.mark.parametrize(("path", "code"), [("/status/404", "http_404"), ("/html", "not_an_image")])
async def test_a_permanent_failure_is_tried_once(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, path: str, code: str
) -> None:
    batch = await submit_batch(resources, [origin.url(path)])
    await work(batch.id, resources, processor)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.errors) == ("failed", {code: 1})
    assert origin.hits(path) == 1


async def test_a_long_retry_after_postpones_the_asset_in_the_database(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    url = origin.serve("/busy.jpg", b"", status=503, headers={"Retry-After": "30"})
    batch = await submit_batch(resources, [url])
    assert await work(batch.id, resources, processor) is False

    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.attempts, asset.claim) == ("pending", 0, None)
    assert asset.due_at.timestamp() == pytest.approx(clock().timestamp() + 30, abs=0.01)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "processing"

    origin.serve("/busy.jpg", image_bytes())
    clock.forward(29)
    await work(batch.id, resources, processor)
    assert origin.hits("/busy.jpg") == 1
    clock.forward(2)
    await work(batch.id, resources, processor)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    [asset] = await assets_of(resources.sessions, batch.id)
    assert asset.attempts == 1


async def test_while_a_host_is_paused_its_other_assets_wait_without_an_attempt(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    busy = origin.serve("/busy.jpg", b"", status=429, headers={"Retry-After": "30"})
    elsewhere = serve_all(origin, 2)[0].replace("127.0.0.1", "127.0.0.2")  # no server listens there
    batch = await submit_batch(resources, [busy, origin.serve("/other.jpg", image_bytes()), elsewhere])
    await work(batch.id, resources, processor, assets=1)
    statuses = [(asset.status, asset.attempts) for asset in await assets_of(resources.sessions, batch.id)]
    assert statuses == [("pending", 0)] * 3
    assert origin.hits("/other.jpg") == 0


# -- internal errors --------------------------------------------------------------------------------------------------


async def test_bodies_larger_than_the_free_memory_are_fetched_in_the_end(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    large = image_bytes(800, 600, "BMP")
    assert len(large) > 2**20
    urls = [origin.serve(f"/{number}.bmp", large, delay=0.05) for number in range(6)]
    memory = FairSemaphore(2 * 2**20)
    batch = await submit_batch(resources, urls)
    await work(batch.id, resources, fetching_with(processor, memory=memory))

    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded) == ("completed", 6)
    assert len(origin.requests) > 6  # some were fetched again once memory was free
    assert {asset.attempts for asset in await assets_of(resources.sessions, batch.id)} == {1}
    assert memory.idle
    assert processor.fetching.fetches.idle


class BuggyOrigin:
    """The port Origin with a bug that one URL triggers."""

    def __init__(self, resources: Resources, url: str) -> None:
        self._fetcher, self._url = resources.fetcher, url

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        if url == self._url:
            raise ZeroDivisionError
        return await self._fetcher.fetch(url, budget, validators, hops)


async def test_a_bug_fails_one_asset_and_the_others_finish(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    urls = serve_all(origin, 5)
    batch = await submit_batch(resources, urls)
    await work(batch.id, resources, fetching_with(processor, origin=BuggyOrigin(resources, urls[2])))
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.errors) == ("completed_with_errors", 4, {"internal_error": 1})
    assert processor.fetching.memory.idle


async def test_a_full_storage_is_tried_again_and_then_reported(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, serve_all(origin, 1))
    (media(resources) / await media_folder(resources)).write_text("a file where the folder should be")
    short_waits = RetryPolicy(own_waits=(timedelta(milliseconds=1),) * 5)
    await work(batch.id, resources, replace(processor, retries=short_waits))
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.error_code) == ("failed", "storage_error")
    assert (asset.attempts, asset.storage_failures) == (1, 6)


async def test_a_missing_batch_ends_the_lane_at_once(resources: Resources, processor: AssetProcessor) -> None:
    assert await asyncio.wait_for(work("bat_none", resources, processor), 5) is False

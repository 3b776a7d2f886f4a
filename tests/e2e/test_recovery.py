"""A worker dies, or Redis loses its data, in the middle of a batch."""

import asyncio
import csv
import io
from pathlib import Path

import pytest

from imgsvc.adapters.redis.queue import WORK_QUEUE, open_redis
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import QUICK, QUICK_WITH_LONG_LEASES, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 240


@pytest.fixture
def permits() -> asyncio.Semaphore:
    """A semaphore with a permit per image that the origin may send; it starts with half of them."""
    return asyncio.Semaphore(IMAGES // 2)


def release_all(permits: asyncio.Semaphore) -> None:
    for _ in range(4 * IMAGES):  # a fetch that is cancelled while it waits may use up one
        permits.release()


def manifest_of(origin: OriginServer, permits: asyncio.Semaphore) -> str:
    """Build a CSV with a product per image."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    for number in range(IMAGES):
        origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30), wait=permits.acquire)
        lines.append(f"{number},Product {number},{origin.url(f'/{number}.jpg')}")
    return "\n".join(lines)


async def wait_until_in_progress(stack: Stack, batch_id: str) -> None:
    """Wait until some of the permitted images are done."""

    async def some_are_done() -> bool:
        assets = (await stack.batch(batch_id))["counts"]["assets"]
        assert sum(count for status, count in assets.items() if status != "total") == assets["total"]
        return bool(assets["succeeded"] > 10)

    await until(some_are_done)
    assert (await stack.batch(batch_id))["status"] == "processing"


async def assert_complete(stack: Stack, batch_id: str, listener: WebhookListener) -> None:
    batch = await stack.finished(batch_id)
    assert batch["status"] == "completed"
    assert batch["counts"]["assets"] == {
        "total": IMAGES, "pending": 0, "processing": 0, "succeeded": IMAGES, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    report = await stack.client.get(f"/v1/batches/{batch_id}/output.csv")
    outputs = [row["Output Image Urls"] for row in csv.DictReader(io.StringIO(report.text))]
    names = [output.rpartition("/")[2].rpartition("-1-")[0] for output in outputs]
    assert names == [f"product-{number}" for number in range(IMAGES)]
    await listener.wait_for(1, timeout=60)
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1


async def test_a_batch_completes_after_its_worker_was_killed(
    own_stack: Stack, origin: OriginServer, listener: WebhookListener, permits: asyncio.Semaphore
) -> None:
    batch_id = await own_stack.upload(manifest_of(origin, permits), webhook_url=listener.url("/hook"))
    await wait_until_in_progress(own_stack, batch_id)
    [worker] = own_stack.workers()
    worker.kill()
    release_all(permits)
    await assert_complete(own_stack, batch_id, listener)
    [successor] = own_stack.workers()
    assert successor.pid != worker.pid


async def test_a_batch_completes_after_redis_was_wiped(
    tmp_path: Path, redis_url: str, origin: OriginServer, listener: WebhookListener, permits: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, IMGSVC_REDIS_URL=redis_url, **QUICK) as stack:
        batch_id = await stack.upload(manifest_of(origin, permits), webhook_url=listener.url("/hook"))
        await wait_until_in_progress(stack, batch_id)
        redis = open_redis(redis_url, queue_name=WORK_QUEUE, timeout=60)
        await redis.flushall()
        await redis.aclose(close_connection_pool=True)
        release_all(permits)
        await assert_complete(stack, batch_id, listener)


async def test_a_stop_drains_and_the_next_start_continues_the_batch(
    tmp_path: Path, origin: OriginServer, listener: WebhookListener, permits: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, **QUICK_WITH_LONG_LEASES) as stack:
        batch_id = await stack.upload(manifest_of(origin, permits), webhook_url=listener.url("/hook"))
        await wait_until_in_progress(stack, batch_id)
        stopping = asyncio.create_task(stack.stop())  # the stop is requested before the other images can arrive
        release_all(permits)
        assert await stopping == 0
    async with running_stack(tmp_path, **QUICK_WITH_LONG_LEASES) as stack:
        await assert_complete(stack, batch_id, listener)
    hits = [origin.hits(f"/{number}.jpg") for number in range(IMAGES)]
    assert max(hits) <= 2  # only images in flight were fetched again

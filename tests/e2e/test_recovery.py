"""What may die in the middle of a batch: a worker, and everything that Redis knew."""

import asyncio
import csv
import io
from pathlib import Path

import pytest

from imgsvc.adapters.redis.queue import WORK_QUEUE, open_redis
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import QUICK, UNHURRIED, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 240


@pytest.fixture
def turns() -> asyncio.Semaphore:
    """One for each image that the origin hands out; half of them are there from the beginning."""
    return asyncio.Semaphore(IMAGES // 2)


def let_the_rest_go_on(turns: asyncio.Semaphore) -> None:
    for _ in range(4 * IMAGES):  # a fetch that is broken off while it waits may take one along
        turns.release()


def manifest_of(origin: OriginServer, turns: asyncio.Semaphore) -> str:
    """A product per image."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    for number in range(IMAGES):
        origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30), wait=turns.acquire)
        lines.append(f"{number},Product {number},{origin.url(f'/{number}.jpg')}")
    return "\n".join(lines)


async def in_the_middle(stack: Stack, batch_id: str) -> None:
    """Wait until some images are done, of those that have a turn."""

    async def some_done() -> bool:
        assets = (await stack.batch(batch_id))["counts"]["assets"]
        assert sum(count for status, count in assets.items() if status != "total") == assets["total"]
        return bool(assets["succeeded"] > 10)

    await until(some_done)
    assert (await stack.batch(batch_id))["status"] == "processing"


async def assert_complete(stack: Stack, batch_id: str, listener: WebhookListener) -> None:
    batch = await stack.finished(batch_id)
    assert batch["status"] == "completed"
    assert batch["counts"]["assets"] == {
        "total": IMAGES, "pending": 0, "processing": 0, "succeeded": IMAGES, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    report = await stack.client.get(f"/v1/batches/{batch_id}/output.csv")
    outputs = [row["Output Image Urls"] for row in csv.DictReader(io.StringIO(report.text))]
    names = [output.rpartition("/")[2].split("-product-")[0] for output in outputs]
    assert names == [str(number) for number in range(IMAGES)]
    await listener.wait_for(1, timeout=60)
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1


async def test_a_worker_is_killed_in_the_middle_and_the_batch_still_completes(
    own_stack: Stack, origin: OriginServer, listener: WebhookListener, turns: asyncio.Semaphore
) -> None:
    batch_id = await own_stack.upload(manifest_of(origin, turns), webhook_url=listener.url("/hook"))
    await in_the_middle(own_stack, batch_id)
    [worker] = own_stack.workers()
    worker.kill()
    let_the_rest_go_on(turns)
    await assert_complete(own_stack, batch_id, listener)
    [successor] = own_stack.workers()
    assert successor.pid != worker.pid


async def test_redis_is_wiped_in_the_middle_and_the_batch_still_completes(
    tmp_path: Path, redis_url: str, origin: OriginServer, listener: WebhookListener, turns: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, IMGSVC_REDIS_URL=redis_url, **QUICK) as stack:
        batch_id = await stack.upload(manifest_of(origin, turns), webhook_url=listener.url("/hook"))
        await in_the_middle(stack, batch_id)
        redis = open_redis(redis_url, queue_name=WORK_QUEUE, timeout=60)
        await redis.flushall()
        await redis.aclose(close_connection_pool=True)
        let_the_rest_go_on(turns)
        await assert_complete(stack, batch_id, listener)


async def test_a_stop_in_the_middle_drains_and_the_next_start_goes_on(
    tmp_path: Path, origin: OriginServer, listener: WebhookListener, turns: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, **UNHURRIED) as stack:
        batch_id = await stack.upload(manifest_of(origin, turns), webhook_url=listener.url("/hook"))
        await in_the_middle(stack, batch_id)
        stopping = asyncio.create_task(stack.stop())  # it is asked to before the images can come
        let_the_rest_go_on(turns)
        assert await stopping == 0
    async with running_stack(tmp_path, **UNHURRIED) as stack:
        await assert_complete(stack, batch_id, listener)
    hits = [origin.hits(f"/{number}.jpg") for number in range(IMAGES)]
    assert max(hits) <= 2  # only what was in flight was fetched again

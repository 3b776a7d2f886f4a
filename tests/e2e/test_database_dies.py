"""The database stops or is locked in the middle of a batch: reads and uploads get 503, and the batch completes."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

import httpx
import pytest

from support.databases import Postgres
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import QUICK_WITH_LONG_LEASES, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 120


@pytest.fixture
def permits() -> asyncio.Semaphore:
    """A semaphore with a permit per image that the origin may send; it starts with half of them."""
    return asyncio.Semaphore(IMAGES // 2)


def release_all(permits: asyncio.Semaphore) -> None:
    for _ in range(IMAGES):
        permits.release()


def manifest_of(origin: OriginServer, permits: asyncio.Semaphore) -> str:
    """Build a CSV with a product per image."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    for number in range(IMAGES):
        url = origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30), wait=permits.acquire)
        lines.append(f"{number},Product {number},{url}")
    return "\n".join(lines)


async def start_batch(stack: Stack, origin: OriginServer, listener: WebhookListener, permits: asyncio.Semaphore) -> str:
    """Start a batch that cannot finish before `release_all`; wait until it is in progress."""
    batch_id = await stack.upload(manifest_of(origin, permits), webhook_url=listener.url("/hook"))

    async def is_started() -> bool:
        return len(origin.requests) > 20

    await until(is_started)
    assert (await stack.batch(batch_id))["status"] == "processing"
    return batch_id


async def assert_complete(stack: Stack, batch_id: str, listener: WebhookListener) -> None:
    batch = await stack.finished(batch_id)
    assert batch["counts"]["assets"] == {
        "total": IMAGES, "pending": 0, "processing": 0, "succeeded": IMAGES, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    report = (await stack.client.get(f"/v1/batches/{batch_id}/output.csv")).text
    assert all(f"/product-{number}-1-" in report for number in range(IMAGES))
    await listener.wait_for(1, timeout=60)
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1


def try_upload(stack: Stack) -> "asyncio.Task[httpx.Response]":
    csv = "S. No.,Product Name,Input Image Urls\n1,Shoe,http://127.0.0.1:9/a.jpg\n"
    return asyncio.create_task(stack.client.post("/v1/batches", content=csv, headers={"Content-Type": "text/csv"}))


async def test_a_batch_completes_after_postgres_crashed_and_was_down_for_a_while(
    tmp_path: Path,
    postgres: Postgres,
    postgres_database: str,
    origin: OriginServer,
    listener: WebhookListener,
    permits: asyncio.Semaphore,
) -> None:
    async with running_stack(tmp_path, IMGSVC_DATABASE_URL=postgres_database, **QUICK_WITH_LONG_LEASES) as stack:
        batch_id = await start_batch(stack, origin, listener, permits)
        with postgres.stopped(signal.SIGQUIT):
            crashed = monotonic()
            release_all(permits)

            async def is_unavailable_for_a_while() -> bool:
                answers = await try_upload(stack), await stack.client.get(f"/v1/batches/{batch_id}")
                assert [answer.status_code for answer in answers] == [503, 503]
                assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
                return monotonic() - crashed > 6

            await until(is_unavailable_for_a_while)
        await assert_complete(stack, batch_id, listener)
        assert len(origin.requests) == IMAGES  # finished images are not fetched again
        assert (await try_upload(stack)).status_code == 202


async def test_a_batch_completes_after_another_program_locked_sqlite_past_the_timeout(
    tmp_path: Path, origin: OriginServer, listener: WebhookListener, permits: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, **QUICK_WITH_LONG_LEASES) as stack:
        batch_id = await start_batch(stack, origin, listener, permits)
        file = tmp_path / "imgsvc.db"
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30, check_same_thread=False)) as other_program:
            await asyncio.to_thread(other_program.execute, "BEGIN IMMEDIATE")
            release_all(permits)
            refused = try_upload(stack)

            async def is_refused_while_reads_continue() -> bool:
                assert (await stack.batch(batch_id))["status"] == "processing"
                return refused.done()

            await until(is_refused_while_reads_continue)  # 15 s
            assert refused.result().status_code == 503
            assert int(refused.result().headers["retry-after"]) > 0
            waiting = try_upload(stack)
            assert (await stack.batch(batch_id))["status"] == "processing"
            other_program.execute("ROLLBACK")
        assert (await waiting).status_code == 202
        await assert_complete(stack, batch_id, listener)

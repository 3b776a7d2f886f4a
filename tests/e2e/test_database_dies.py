"""The database stops, or is locked, in the middle of a batch: reads and uploads say so, and the batch completes."""

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
from support.stack import UNHURRIED, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 120


@pytest.fixture
def turns() -> asyncio.Semaphore:
    """One for each image that the origin hands out; half of them are there from the beginning."""
    return asyncio.Semaphore(IMAGES // 2)


def let_the_rest_go_on(turns: asyncio.Semaphore) -> None:
    for _ in range(IMAGES):
        turns.release()


def manifest_of(origin: OriginServer, turns: asyncio.Semaphore) -> str:
    """A product per image."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    lines += [
        f"{number},Product {number},{origin.serve(f'/{number}.jpg', image_bytes(40 + number, 30), wait=turns.acquire)}"
        for number in range(IMAGES)
    ]
    return "\n".join(lines)


async def batch_in_the_middle(
    stack: Stack, origin: OriginServer, listener: WebhookListener, turns: asyncio.Semaphore
) -> str:
    """A batch that does not end before the rest may go on."""
    batch_id = await stack.upload(manifest_of(origin, turns), webhook_url=listener.url("/hook"))

    async def begun() -> bool:
        return len(origin.requests) > 20

    await until(begun)
    assert (await stack.batch(batch_id))["status"] == "processing"
    return batch_id


async def assert_complete(stack: Stack, batch_id: str, listener: WebhookListener) -> None:
    batch = await stack.finished(batch_id)
    assert batch["counts"]["assets"] == {
        "total": IMAGES, "pending": 0, "processing": 0, "succeeded": IMAGES, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    report = (await stack.client.get(f"/v1/batches/{batch_id}/output.csv")).text
    assert all(f"/{number}-product-{number}-" in report for number in range(IMAGES))
    await listener.wait_for(1, timeout=60)
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1


def try_upload(stack: Stack) -> "asyncio.Task[httpx.Response]":
    csv = "S. No.,Product Name,Input Image Urls\n1,Shoe,http://127.0.0.1:9/a.jpg\n"
    return asyncio.create_task(stack.client.post("/v1/batches", content=csv, headers={"Content-Type": "text/csv"}))


async def test_postgres_crashes_in_the_middle_and_is_away_for_a_while(
    tmp_path: Path,
    postgres: Postgres,
    postgres_database: str,
    origin: OriginServer,
    listener: WebhookListener,
    turns: asyncio.Semaphore,
) -> None:
    async with running_stack(tmp_path, IMGSVC_DATABASE_URL=postgres_database, **UNHURRIED) as stack:
        batch_id = await batch_in_the_middle(stack, origin, listener, turns)
        with postgres.stopped(signal.SIGQUIT):
            crashed = monotonic()
            let_the_rest_go_on(turns)

            async def away_for_a_while() -> bool:
                answers = await try_upload(stack), await stack.client.get(f"/v1/batches/{batch_id}")
                assert [answer.status_code for answer in answers] == [503, 503]
                assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
                return monotonic() - crashed > 6

            await until(away_for_a_while)
        await assert_complete(stack, batch_id, listener)
        assert len(origin.requests) == IMAGES  # what was done is not done again
        assert (await try_upload(stack)).status_code == 202


async def test_another_program_locks_sqlite_in_the_middle_for_longer_than_anybody_waits(
    tmp_path: Path, origin: OriginServer, listener: WebhookListener, turns: asyncio.Semaphore
) -> None:
    async with running_stack(tmp_path, **UNHURRIED) as stack:
        batch_id = await batch_in_the_middle(stack, origin, listener, turns)
        file = tmp_path / "imgsvc.db"
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30, check_same_thread=False)) as intruder:
            await asyncio.to_thread(intruder.execute, "BEGIN IMMEDIATE")
            let_the_rest_go_on(turns)
            refused = try_upload(stack)

            async def refused_while_reads_go_on() -> bool:
                assert (await stack.batch(batch_id))["status"] == "processing"
                return refused.done()

            await until(refused_while_reads_go_on)  # 15 s
            assert refused.result().status_code == 503
            assert int(refused.result().headers["retry-after"]) > 0
            waiting = try_upload(stack)
            assert (await stack.batch(batch_id))["status"] == "processing"
            intruder.execute("ROLLBACK")
        assert (await waiting).status_code == 202
        await assert_complete(stack, batch_id, listener)

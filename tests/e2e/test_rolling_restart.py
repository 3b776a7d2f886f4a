"""A rolling restart under load, as for an update: no request and no image is lost."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import psutil
import pytest

from support.origin_server import OriginServer, image_bytes
from support.stack import QUICK_WITH_LONG_LEASES, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 40


class Traffic:
    """Continuous uploads and status reads, each on a new connection; a failing request fails the test."""

    def __init__(self, stack: Stack, manifest: str) -> None:
        self.stack = stack
        self.manifest = manifest
        self.batches: list[str] = []
        self.requests = 0

    async def send_requests(self) -> None:
        while True:
            async with httpx.AsyncClient(base_url=self.stack.client.base_url, timeout=40, trust_env=False) as client:
                if self.requests % 10 == 0:
                    answer = await client.post("/v1/batches", files={"file": ("shop.csv", self.manifest)})
                    assert answer.status_code == 202, answer.text
                    self.batches.append(answer.json()["id"])
                else:
                    answer = await client.get(f"/v1/batches/{self.batches[-1]}")
                    assert answer.status_code == 200, answer.text
                self.requests += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.send_requests()) for _ in range(3)]
            yield
            for task in tasks:
                task.cancel()


async def replace(stack: Stack, process: psutil.Process, word: str, count: int) -> None:
    """Terminate a process and wait until `count` processes run without it."""
    process.terminate()

    async def is_replaced() -> bool:
        pids = [child.pid for child in stack.children(word)]
        return process.pid not in pids and len(pids) == count

    await until(is_replaced)


@pytest.mark.timeout(180)
async def test_a_rolling_restart_under_load_loses_no_request_and_no_image(tmp_path: Path, origin: OriginServer) -> None:
    urls = [origin.serve(f"/{number}.jpg", image_bytes(), delay=0.2) for number in range(IMAGES)]
    rows = [f"{number},Product {number},{url}" for number, url in enumerate(urls)]
    manifest = "\n".join(["S. No.,Product Name,Input Image Urls", *rows])
    settings = QUICK_WITH_LONG_LEASES | {"IMGSVC_UPLOADS_PER_MINUTE": "1000000"}
    async with running_stack(tmp_path, "--workers", "2", **settings) as stack:
        traffic = Traffic(stack, manifest)
        async with traffic.running():
            await until(lambda: _has_more(traffic, 20))
            for worker in stack.workers():
                await replace(stack, worker, "imgsvc.worker", 2)
            for api in stack.children("api"):
                await replace(stack, api, "api", 1)
            target = traffic.requests + 20
            await until(lambda: _has_more(traffic, target))
        for batch_id in traffic.batches:
            batch = await stack.finished(batch_id)
            assert batch["counts"]["assets"]["succeeded"] == IMAGES
    with closing(sqlite3.connect(tmp_path / "imgsvc.db")) as database:
        assert database.execute("SELECT max(lost), max(attempts) FROM asset").fetchone() == (0, 1)


async def _has_more(traffic: Traffic, requests: int) -> bool:
    return traffic.requests > requests

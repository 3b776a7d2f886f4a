"""Images that crash the process that decodes them or never finish do not affect other images of their batch."""

import asyncio
import csv
import io
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from support.images import encoded
from support.origin_server import OriginServer, image_bytes
from support.stack import QUICK, Stack, command_of, running_stack, status_of, until

pytestmark = pytest.mark.slow

OTHER_IMAGES = 30
# Long enough to observe a slow image being compressed before its lane releases it.
UNHURRIED = QUICK | {"IMGSVC_LEASE": "12", "IMGSVC_LANE_LIFETIME": "6", "IMGSVC_JOB_TIMEOUT": "12"}


def slow_image(width: int, height: int) -> bytes:
    """Return a noise image; as AVIF it takes 0.6 CPU seconds per megapixel, and above 4.5 MP it runs in a sandbox."""
    noise = random.Random(1).randbytes(width * height * 3)
    return encoded(Image.frombytes("RGB", (width, height), noise), "JPEG", quality=30)


def manifest_of(origin: OriginServer, poison: bytes, *, wait: Callable[[], Awaitable[object]] | None = None) -> str:
    """Build a CSV with a product per image; the poison image is in the middle and is sent when `turn` returns."""
    urls = [origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30)) for number in range(OTHER_IMAGES)]
    urls.insert(OTHER_IMAGES // 2, origin.serve("/poison.jpg", poison, wait=wait))
    lines = [f"{number},Product {number},{url}" for number, url in enumerate(urls)]
    return "\n".join(["S. No.,Product Name,Input Image Urls", *lines])


async def assert_only_poison_failed(stack: Stack, batch_id: str, *, detail: str) -> None:
    """Assert that the poison image failed as `worker_crash` and that all others succeeded."""
    batch = await stack.finished(batch_id)
    assert batch["errors_by_code"] == {"worker_crash": 1}
    assert (batch["status"], batch["counts"]["assets"]["succeeded"]) == ("completed_with_errors", OTHER_IMAGES)
    report = await stack.client.get(f"/v1/batches/{batch_id}/output.csv", params={"extended": "true"})
    [row] = [row for row in csv.DictReader(io.StringIO(report.text)) if not row["Output Image Urls"]]
    assert row["Input Image Urls"].endswith("/poison.jpg")
    products = await stack.client.get(f"/v1/batches/{batch_id}/products", params={"limit": 100})
    errors = [asset["error"] for product in products.json()["data"] for asset in product["assets"] if asset["error"]]
    assert [error["code"] for error in errors] == ["worker_crash"]
    assert detail in errors[0]["detail"]


def sandbox_processes(worker: psutil.Process) -> list[tuple[psutil.Process, float]]:
    """Return the worker's sandbox processes with the CPU seconds of each."""
    try:
        children = [child for child in worker.children() if "imgsvc.adapters.sandbox.child" in command_of(child)]
        return [(child, child.cpu_times().user) for child in children]
    except psutil.Error:  # one has just ended
        return []


async def test_an_image_that_crashes_its_decoder_kills_one_worker_and_fails_alone(
    tmp_path: Path, origin: OriginServer
) -> None:
    """No such image is known, so the test itself kills the process that compresses it."""
    async with running_stack(tmp_path, **UNHURRIED) as stack:
        [first] = stack.workers()
        may_send = asyncio.Event()
        manifest = manifest_of(origin, slow_image(5_000, 4_000), wait=may_send.wait)
        batch_id = await stack.upload(manifest, format="avif")

        async def is_requested() -> bool:
            return origin.hits("/poison.jpg") > 0

        await until(is_requested)
        first.kill()
        may_send.set()

        async def compressing_processes() -> Any:
            children = [found for worker in stack.workers() for found in sandbox_processes(worker)]
            return [child for child, spent in children if spent > 2]  # the other images take milliseconds

        [child] = await until(compressing_processes, within=90)
        [second] = stack.workers()
        child.send_signal(signal.SIGSEGV)
        await assert_only_poison_failed(stack, batch_id, detail="crashed")
        assert stack.workers() == [second]
        assert second.pid != first.pid


async def test_an_endless_image_costs_one_worker_and_fails_alone(tmp_path: Path, origin: OriginServer) -> None:
    async with running_stack(tmp_path, **UNHURRIED, IMGSVC_CODEC_TIMEOUT="0.5") as stack:
        [first] = stack.workers()
        batch_id = await stack.upload(manifest_of(origin, slow_image(2_200, 2_000)), format="avif")

        async def is_gone() -> bool:
            return not first.is_running() or bool(status_of(first) == psutil.STATUS_ZOMBIE)

        await until(is_gone)
        await assert_only_poison_failed(stack, batch_id, detail="too long")
        [second] = stack.workers()
        assert second.pid != first.pid

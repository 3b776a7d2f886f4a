"""Images that bring down whoever decodes them, or never come to an end: their neighbours do not notice."""

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

NEIGHBOURS = 30
# Time enough for a slow image to be caught at work before its lane hands it back.
UNHURRIED = QUICK | {"IMGSVC_LEASE": "12", "IMGSVC_LANE_LIFETIME": "6", "IMGSVC_JOB_TIMEOUT": "12"}


def slow_image(width: int, height: int) -> bytes:
    """Noise: as AVIF it costs 0.6 s of the processor for each megapixel; above 4.5 it keeps no thread at all."""
    noise = random.Random(1).randbytes(width * height * 3)
    return encoded(Image.frombytes("RGB", (width, height), noise), "JPEG", quality=30)


def manifest_of(origin: OriginServer, poison: bytes, *, wait: Callable[[], Awaitable[object]] | None = None) -> str:
    """A product for each image; the poison is in the middle, and comes when it is its turn."""
    urls = [origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30)) for number in range(NEIGHBOURS)]
    urls.insert(NEIGHBOURS // 2, origin.serve("/poison.jpg", poison, wait=wait))
    lines = [f"{number},Product {number},{url}" for number, url in enumerate(urls)]
    return "\n".join(["S. No.,Product Name,Input Image Urls", *lines])


async def failed_alone(stack: Stack, batch_id: str, *, detail: str) -> None:
    """The poison has failed as `worker_crash`, and everything else has succeeded."""
    batch = await stack.finished(batch_id)
    assert batch["errors_by_code"] == {"worker_crash": 1}
    assert (batch["status"], batch["counts"]["assets"]["succeeded"]) == ("completed_with_errors", NEIGHBOURS)
    report = await stack.client.get(f"/v1/batches/{batch_id}/output.csv", params={"extended": "true"})
    [row] = [row for row in csv.DictReader(io.StringIO(report.text)) if not row["Output Image Urls"]]
    assert row["Input Image Urls"].endswith("/poison.jpg")
    products = await stack.client.get(f"/v1/batches/{batch_id}/products", params={"limit": 100})
    errors = [asset["error"] for product in products.json()["data"] for asset in product["assets"] if asset["error"]]
    assert [error["code"] for error in errors] == ["worker_crash"]
    assert detail in errors[0]["detail"]


def in_quarantine(worker: psutil.Process) -> list[tuple[psutil.Process, float]]:
    """The worker's processes in quarantine, with the seconds of the processor that each has spent."""
    try:
        children = [child for child in worker.children() if "imgsvc.adapters.sandbox.child" in command_of(child)]
        return [(child, child.cpu_times().user) for child in children]
    except psutil.Error:  # one has just ended
        return []


async def test_a_image_that_kills_who_decodes_it_kills_one_worker_and_fails_alone(
    tmp_path: Path, origin: OriginServer
) -> None:
    """No such image is known: what it would do to the process at work on it is done by hand."""
    async with running_stack(tmp_path, **UNHURRIED) as stack:
        [first] = stack.workers()
        may_come = asyncio.Event()
        manifest = manifest_of(origin, slow_image(5_000, 4_000), wait=may_come.wait)
        batch_id = await stack.upload(manifest, format="avif")

        async def taken() -> bool:
            return origin.hits("/poison.jpg") > 0

        await until(taken)
        first.kill()
        may_come.set()

        async def at_work_apart() -> Any:
            children = [found for worker in stack.workers() for found in in_quarantine(worker)]
            return [child for child, spent in children if spent > 2]  # its neighbours take milliseconds

        [child] = await until(at_work_apart, within=90)
        [second] = stack.workers()
        child.send_signal(signal.SIGSEGV)
        await failed_alone(stack, batch_id, detail="crashed")
        assert stack.workers() == [second]
        assert second.pid != first.pid


async def test_a_image_without_end_costs_one_worker_its_life_and_fails_alone(
    tmp_path: Path, origin: OriginServer
) -> None:
    async with running_stack(tmp_path, **UNHURRIED, IMGSVC_CODEC_TIMEOUT="0.5") as stack:
        [first] = stack.workers()
        batch_id = await stack.upload(manifest_of(origin, slow_image(2_200, 2_000)), format="avif")

        async def replaced() -> bool:
            return not first.is_running() or bool(status_of(first) == psutil.STATUS_ZOMBIE)

        await until(replaced)
        await failed_alone(stack, batch_id, detail="too long")
        [second] = stack.workers()
        assert second.pid != first.pid

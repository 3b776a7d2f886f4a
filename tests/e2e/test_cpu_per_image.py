"""A guard against performance regressions: the CPU time (not wall-clock time) of everything around Pillow."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from imgsvc.cli.stack import WORKER_MALLOC
from support.batches import manifest
from support.images import photo_jpeg
from support.origin_server import OriginServer
from support.stack import Stack, running_stack

pytestmark = pytest.mark.slow

IMAGES = 300
WARM_UP = 30
MAX_RATIO = 3.0
"""Multiple of what Pillow alone takes; measured 1.3 to 2.1, depending on other load."""
ALONE = """
import sys, time, io
from PIL import Image
photo, scratch = sys.stdin.buffer.read(), open(sys.argv[1], "w+b")
def compress():
    scratch.seek(0)
    Image.open(io.BytesIO(photo)).save(scratch, "JPEG", quality=50)
compress()
started = time.process_time()
for _ in range(100):
    compress()
print((time.process_time() - started) / 100)
"""


def cpu_seconds(stack: Stack) -> float:
    """Return the CPU seconds used so far by API, worker and Valkey."""
    return sum(sum(child.cpu_times()[:2]) for child in stack.children())


async def cpu_seconds_of_pillow(photo: bytes, scratch: Path) -> float:
    """Return the CPU seconds to decode and encode an image with a worker's allocator settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE, str(scratch), env={**os.environ, **WORKER_MALLOC}, stdin=PIPE, stdout=PIPE
    )
    output, _ = await process.communicate(photo)
    return float(output)


async def test_an_image_costs_little_more_than_decoding_and_encoding(tmp_path: Path, origin: OriginServer) -> None:
    photo = photo_jpeg(1152, 864, quality=75)
    urls = [origin.serve(f"/{number}.jpg", photo) for number in range(WARM_UP + IMAGES)]
    async with running_stack(tmp_path) as stack:
        await stack.finished(await stack.upload(manifest(urls[:WARM_UP]).decode()))
        before = cpu_seconds(stack)
        batch = await stack.finished(await stack.upload(manifest(urls[WARM_UP:]).decode()))
        spent = (cpu_seconds(stack) - before) / IMAGES
    assert batch["status"] == "completed"
    assert spent < MAX_RATIO * await cpu_seconds_of_pillow(photo, tmp_path / "scratch")

"""A guard against getting slow: what everything around Pillow costs, by the processor's time and never by the clock."""

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
MOST = 3.0
"""Times what Pillow alone takes; it was 1.3 to 2.1, as busy as others kept the processor."""
ALONE = """
import sys, time, io
from PIL import Image
photo, scratch = sys.stdin.buffer.read(), open(sys.argv[1], "w+b")
def compress():
    scratch.seek(0)
    Image.open(io.BytesIO(photo)).save(scratch, "JPEG", quality=50)
compress()
began = time.process_time()
for _ in range(100):
    compress()
print((time.process_time() - began) / 100)
"""


def seconds_of(stack: Stack) -> float:
    """Of the processor, spent so far by API, worker and Valkey."""
    return sum(sum(child.cpu_times()[:2]) for child in stack.children())


async def seconds_alone(photo: bytes, scratch: Path) -> float:
    """Of the processor, to decode and encode an image, with a worker's settings of the allocator."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE, str(scratch), env={**os.environ, **WORKER_MALLOC}, stdin=PIPE, stdout=PIPE
    )
    answer, _ = await process.communicate(photo)
    return float(answer)


async def test_an_image_costs_little_more_than_to_decode_and_encode_it(tmp_path: Path, origin: OriginServer) -> None:
    photo = photo_jpeg(1152, 864, quality=75)
    urls = [origin.serve(f"/{number}.jpg", photo) for number in range(WARM_UP + IMAGES)]
    async with running_stack(tmp_path) as stack:
        await stack.finished(await stack.upload(manifest(urls[:WARM_UP]).decode()))
        before = seconds_of(stack)
        batch = await stack.finished(await stack.upload(manifest(urls[WARM_UP:]).decode()))
        spent = (seconds_of(stack) - before) / IMAGES
    assert batch["status"] == "completed"
    assert spent < MOST * await seconds_alone(photo, tmp_path / "scratch")

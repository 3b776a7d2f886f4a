"""Two batches at a time: hostile images of one are refused or compressed separately and do not delay the other."""

import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.frame_bombs import gif_bomb
from support.images import RED, animation, encoded, wide_gamut_profile
from support.origin_server import OriginServer, image_bytes
from support.stack import Stack, running_stack

pytestmark = pytest.mark.slow

SIX = range(6)


def long_profile() -> bytes:
    """Return an ICC profile of 15 MiB, most of which no tag refers to."""
    profile = wide_gamut_profile() + os.urandom(15 * 2**20)
    return struct.pack(">I", len(profile)) + profile[4:]


def manifest(urls: list[str]) -> str:
    lines = [f"{number},Product {number},{url}" for number, url in enumerate(urls)]
    return "\n".join(["S. No.,Product Name,Input Image Urls", *lines])


async def assets_of(stack: Stack, batch_id: str) -> list[dict[str, Any]]:
    products = (await stack.client.get(f"/v1/batches/{batch_id}/products", params={"limit": 100})).json()
    return [asset for product in products["data"] for asset in product["assets"]]


async def test_frame_bombs_and_long_animations_of_one_batch_do_not_delay_another(
    tmp_path: Path, origin: OriginServer
) -> None:
    profiles = [encoded(Image.new("RGB", (64, 48), RED), "JPEG", icc_profile=long_profile()) for _ in SIX]
    hostile = [
        *(origin.serve(f"/bomb{number}.gif", gif_bomb(120_000)) for number in SIX),
        *(origin.serve(f"/profile{number}.jpg", profile) for number, profile in enumerate(profiles)),
        *(origin.serve(f"/long{number}.gif", animation(count=150, size=(400, 300))) for number in range(2)),
    ]
    small = [origin.serve(f"/{number}.jpg", image_bytes(40 + number, 30)) for number in range(20)]
    async with running_stack(tmp_path) as stack:
        before = [worker.pid for worker in stack.workers()]
        first = await stack.upload(manifest(hostile), format="webp")
        second = await stack.upload(manifest(small))
        assert (await stack.finished(second))["status"] == "completed"

        batch = await stack.finished(first)
        assert batch["errors_by_code"] == {"too_many_frames": 6}
        assert Counter(asset["status"] for asset in await assets_of(stack, first)) == {"failed": 6, "succeeded": 8}
        assert [worker.pid for worker in stack.workers()] == before
        assert max(worker.memory_info().rss for worker in stack.workers()) < 550 * 10**6, "as operations.md says"

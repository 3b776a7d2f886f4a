"""Time 20 small images of one upload beside another upload of images made to stop a worker.

    python benchmarks/neighbours.py [--turns 5]

Six GIFs of 120,000 frames of one pixel, and six JPEGs with a colour profile of 15 MiB each, are uploaded first.
"""

import argparse
import asyncio
import io
import struct
from statistics import median
from time import perf_counter
from typing import Any

from aiohttp import web
from PIL import Image, ImageCms

from memory import watched
from processes import Service, manifest, service, serving

FRAMES = 120_000
PROFILE_BYTES = 15 * 2**20
BAD, GOOD = 6, 20


def frame_bomb() -> bytes:
    """A GIF of 1.8 MB."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * FRAMES + b";"


def with_large_profile(number: int) -> bytes:
    """A JPEG whose profile is sRGB with 15 MiB behind it, unlike that of any other number."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = struct.pack(">I", PROFILE_BYTES) + srgb[4:] + bytes([number]) * (PROFILE_BYTES - len(srgb))
    return _jpeg(number, icc_profile=profile)


def _jpeg(number: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300 + number), 60).convert("RGB").save(file, "JPEG", quality=90, **options)
    return file.getvalue()


async def turn(started: Service, url: str, number: int) -> tuple[float, dict[str, int]]:
    """Seconds from the second upload to its webhook, and how the images of the first one ended."""
    bad = [f"{url}/{number}/{kind}-{n}" for kind in ("frames", "profile") for n in range(BAD)]
    hostile = await started.upload(manifest(bad))
    began = perf_counter()
    good = await started.upload(manifest(f"{url}/{number}/good-{n}" for n in range(GOOD)))
    await started.ended(good)
    seconds = perf_counter() - began
    batch = (await started.client.get(good)).json()
    assert batch["counts"]["assets"]["succeeded"] == GOOD, batch
    await started.ended(hostile)
    ended = (await started.client.get(hostile)).json()
    return seconds, {"succeeded": ended["counts"]["assets"]["succeeded"], **ended["errors_by_code"]}


async def run(turns: int) -> None:
    bodies = {f"frames-{n}": frame_bomb() for n in range(BAD)}
    bodies |= {f"profile-{n}": with_large_profile(n) for n in range(BAD)}
    bodies |= {f"good-{n}": _jpeg(n) for n in range(GOOD)}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.match_info["name"]])

    async with serving(web.get("/{turn}/{name}", answer)) as url, service("--workers", "1") as started:
        waits = []
        async with watched(started, every=0.02) as seen:
            for number in range(turns):
                seconds, ended = await turn(started, url, number)
                waits.append(seconds)
                print(f"{GOOD} small images: {seconds:.2f} s   the others: {ended}")
        largest, child = max(worker for _, worker, _ in seen), max(own for _, _, own in seen)
        print(f"median {median(waits):.2f} s, worst {max(waits):.2f} s; largest worker {largest:.0f} MB, "
              f"largest process of its own for an image {child:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    asyncio.run(run(parser.parse_args().turns))

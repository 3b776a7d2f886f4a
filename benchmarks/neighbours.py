"""The time for 20 small images of one upload while another upload has images made to stop a worker.

    python benchmarks/neighbours.py [--runs 5]

Six GIFs of 120,000 one-pixel frames and six JPEGs with a colour profile of 15 MiB each are uploaded first.
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
    """Return a GIF of 1.8 MB."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * FRAMES + b";"


def with_large_profile(number: int) -> bytes:
    """Return a JPEG with an sRGB profile padded to 15 MiB, different for each number."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = struct.pack(">I", PROFILE_BYTES) + srgb[4:] + bytes([number]) * (PROFILE_BYTES - len(srgb))
    return _jpeg(number, icc_profile=profile)


def _jpeg(number: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300 + number), 60).convert("RGB").save(file, "JPEG", quality=90, **options)
    return file.getvalue()


async def measure(started: Service, url: str, number: int) -> tuple[float, dict[str, int]]:
    """Return the seconds from the second upload to its webhook, and the outcomes of the first one's images."""
    bad = [f"{url}/{number}/{kind}-{n}" for kind in ("frames", "profile") for n in range(BAD)]
    hostile = await started.upload(manifest(bad))
    begin = perf_counter()
    good = await started.upload(manifest(f"{url}/{number}/good-{n}" for n in range(GOOD)))
    await started.ended(good)
    seconds = perf_counter() - begin
    batch = (await started.client.get(good)).json()
    assert batch["counts"]["assets"]["succeeded"] == GOOD, batch
    await started.ended(hostile)
    ended = (await started.client.get(hostile)).json()
    return seconds, {"succeeded": ended["counts"]["assets"]["succeeded"], **ended["errors_by_code"]}


async def run(runs: int) -> None:
    bodies = {f"frames-{n}": frame_bomb() for n in range(BAD)}
    bodies |= {f"profile-{n}": with_large_profile(n) for n in range(BAD)}
    bodies |= {f"good-{n}": _jpeg(n) for n in range(GOOD)}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.match_info["name"]])

    async with serving(web.get("/{run}/{name}", answer)) as url, service("--workers", "1") as started:
        durations = []
        async with watched(started, every=0.02) as samples:
            for number in range(runs):
                seconds, ended = await measure(started, url, number)
                durations.append(seconds)
                print(f"{GOOD} small images: {seconds:.2f} s   the others: {ended}")
        largest, child = max(worker for _, worker, _ in samples), max(sandbox for _, _, sandbox in samples)
        print(f"median {median(durations):.2f} s, worst {max(durations):.2f} s; largest worker {largest:.0f} MB, "
              f"largest sandbox process {child:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    asyncio.run(run(parser.parse_args().runs))

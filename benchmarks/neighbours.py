"""The time for a few small images of one upload during others that could delay them.

    python benchmarks/neighbours.py [hostile|batches|paced|slow|lanes] [--runs 5] [--size 1] [--workers 1]

hostile: 20 images after six GIFs of 120,000 one-pixel frames and six JPEGs with a colour profile of 15 MiB each.
The others: 5 images of one API key after these of another, with `--size` times as many (0.05 to try):
batches: 1,000 batches of 20 images. paced: 20 batches of 100 URLs on a host that allows 2 per second.
slow: 250,000 URLs of a host that takes 3 s for each. lanes: 1,000 batches whose lanes run in other workers.
With IMGSVC_DATABASE_URL, this database is used instead of a new SQLite file; it must be empty.
"""

import argparse
import asyncio
import io
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import Any

import psutil
from aiohttp import web
from PIL import Image, ImageCms

from memory import watched
from other_workers import lanes_elsewhere
from processes import Service, manifest, origin, service, serving, urls

FRAMES = 120_000
PROFILE_BYTES = 15 * 2**20
BAD, GOOD = 6, 20
FEW = 5
"""The images of the second API key."""
PATIENCE = 120.0
"""Seconds after which the second key gives up."""


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


# -- two API keys -----------------------------------------------------------------------------------------------------

Load = Callable[[Service, float], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def batches(big: Service, size: float) -> AsyncIterator[None]:
    async with origin(side=300) as url:
        await _upload(big, [urls(url, 20, catalogue=f"batch{number}") for number in range(round(1_000 * size))])
        yield


@asynccontextmanager
async def paced(big: Service, size: float) -> AsyncIterator[None]:
    async with origin(side=300, rate=2) as url:
        await _upload(big, [urls(url, 100, catalogue=f"batch{number}") for number in range(round(20 * size) or 1)])
        yield


@asynccontextmanager
async def slow(big: Service, size: float) -> AsyncIterator[None]:
    async with origin(side=300, latency=3) as url:
        await _upload(big, [urls(url, round(250_000 * size), catalogue="slow")])
        yield


@asynccontextmanager
async def lanes(big: Service, size: float) -> AsyncIterator[None]:
    """Let another worker start all lanes first."""
    count = round(1_000 * size)
    async with origin(side=300) as url, lanes_elsewhere(big.environment()["IMGSVC_REDIS_URL"]) as running:
        with _stopped(big.workers()):
            for number in range(count):
                await big.upload(manifest(urls(url, 1, catalogue=f"batch{number}")))
            await running(count)
        yield


async def _upload(big: Service, catalogues: Sequence[list[str]]) -> None:
    """Upload all before the first is begun: the workers are stopped meanwhile."""
    with _stopped(big.workers()):
        for catalogue in catalogues:
            await big.upload(manifest(catalogue))


@contextmanager
def _stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def measure_two_keys(load: Load, number: int, size: float, workers: int) -> float:
    """Return the seconds from the upload of the second key to its webhook, at most `PATIENCE`."""
    limits = {"UPLOADS_PER_MINUTE": 1_000_000, "MAX_OPEN_BATCHES": 1_000_000, "MAX_ROWS": 1_000_000}
    async with (
        service("--workers", str(workers), **limits) as started,
        origin(side=300) as quick,
        started.with_key("big") as big,
        started.with_key("small") as small,
        load(big, size),
    ):
        await asyncio.sleep(2)  # the load settles before the measurement
        begin = perf_counter()
        path = await small.upload(manifest(urls(quick, FEW, catalogue=f"few{number}")))
        with suppress(TimeoutError):
            await asyncio.wait_for(small.ended(path), PATIENCE)
        return perf_counter() - begin


async def run_two_keys(load: Load, runs: int, size: float, workers: int) -> None:
    durations = [await measure_two_keys(load, number, size, workers) for number in range(runs)]
    print("s, ".join(f"{seconds:.1f}" for seconds in durations) + f" s; median {median(durations):.1f} s"
          + (f" (given up after {PATIENCE:.0f} s)" if max(durations) >= PATIENCE else ""))  # fmt: skip


CASES: dict[str, Load] = {"batches": batches, "paced": paced, "slow": slow, "lanes": lanes}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=["hostile", *CASES], default="hostile")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=float, default=1)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.case == "hostile":
        asyncio.run(run(options.runs))
    else:
        asyncio.run(run_two_keys(CASES[options.case], options.runs, options.size, options.workers))

"""Memory of the worker processes: over many photos, and with the largest images that are allowed."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter

import psutil
from aiohttp import web
from PIL import Image

from processes import Service, manifest, service, serving, urls

MB = 1e6
SIDE = 7_000
"""Pixels: 49 megapixels are allowed, 50 is the limit."""


def resident(processes: Iterable[psutil.Process]) -> list[float]:
    """Megabytes of each."""
    found = []
    for process in processes:
        try:
            found.append(process.memory_info().rss / MB)
        except psutil.Error:
            found.append(0.0)
    return found


@asynccontextmanager
async def watched(started: Service, every: float = 1.0) -> AsyncIterator[list[tuple[float, float, float]]]:
    """Seconds, megabytes of the largest worker, megabytes of the largest process of its own for an image."""
    began, seen, workers = perf_counter(), [], started.workers()

    async def watch() -> None:
        nonlocal workers
        while True:
            if not all(worker.is_running() for worker in workers):
                workers = started.workers()
            children = [child for worker in workers for child in _children(worker)]
            seen.append(
                (perf_counter() - began, max(resident(workers), default=0.0), max(resident(children), default=0.0))
            )
            await asyncio.sleep(every)  # between two samples

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _children(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return list(worker.children())
    except psutil.Error:
        return []


async def over_many(origin_url: str, count: int) -> list[tuple[float, float, float]]:
    """`count` photos in one batch."""
    async with service() as started, watched(started) as seen:
        await started.images_per_second(urls(origin_url, count, catalogue="soak"))
    return seen


async def of_the_worst() -> dict[str, tuple[float, float]]:
    """Peaks of the worker and of a process of its own, for each kind of image, in megabytes."""
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        await asyncio.to_thread(_make, Path(folder))
        async with serving(web.static("/", folder)) as url:
            for name, wanted in WORST:
                async with service("--workers", "1") as started, watched(started, every=0.01) as seen:
                    path = await started.upload(manifest([f"{url}/{name}"]), format=wanted)
                    await started.ended(path)
                    batch = (await started.client.get(path)).json()
                    assert batch["status"] == "completed", batch
                peaks[f"{name} → {wanted}"] = (max(worker for _, worker, _ in seen), max(own for _, _, own in seen))
    return peaks


WORST = (
    *(("plain.jpg", wanted) for wanted in ("original", "png", "webp", "avif")),
    *((name, "original") for name in ("progressive.jpg", "cmyk.jpg", "flat.png", "soft.png", "wide.webp", "wide.avif")),
    ("wide.jp2", "original"),
    ("soft.png", "jpeg"),
    ("progressive-cmyk.jpg", "original"),
)


def _make(folder: Path) -> None:
    size = (SIDE, SIDE)
    rough = Image.effect_noise((SIDE // 8, SIDE // 8), 60).resize(size, Image.Resampling.BICUBIC)
    photo = Image.merge("RGB", (rough, rough.transpose(Image.Transpose.ROTATE_90), rough))
    photo.save(folder / "plain.jpg", quality=80)
    photo.save(folder / "progressive.jpg", quality=80, progressive=True)
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=80)
    photo.convert("CMYK").save(folder / "progressive-cmyk.jpg", quality=80, progressive=True, subsampling="4:4:4")
    photo.save(folder / "wide.webp", quality=60, method=0)
    photo.save(folder / "wide.avif", quality=50, speed=9)
    photo.save(folder / "wide.jp2", quality_mode="rates", quality_layers=[20])
    flat = rough.resize((SIDE // 10, SIDE // 10)).resize(size, Image.Resampling.NEAREST)
    flat.convert("P").save(folder / "flat.png", compress_level=1)
    soft = Image.merge("RGBA", (flat, flat, flat, Image.radial_gradient("L").resize(size)))
    soft.save(folder / "soft.png", compress_level=1)

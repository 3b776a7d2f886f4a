"""Memory of the worker processes: over many photos, and with the largest allowed images."""

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
"""Pixels: an image has 49 megapixels; the limit is 50."""


def resident(processes: Iterable[psutil.Process]) -> list[float]:
    """Return the resident megabytes of each process; 0 if it has ended."""
    sizes = []
    for process in processes:
        try:
            sizes.append(process.memory_info().rss / MB)
        except psutil.Error:
            sizes.append(0.0)
    return sizes


@asynccontextmanager
async def watched(started: Service, every: float = 1.0) -> AsyncIterator[list[tuple[float, float, float]]]:
    """Sample seconds, megabytes of the largest worker and megabytes of the largest sandbox process."""
    begin, samples, workers = perf_counter(), [], started.workers()

    async def watch() -> None:
        nonlocal workers
        while True:
            if not all(worker.is_running() for worker in workers):
                workers = started.workers()
            children = [child for worker in workers for child in _children(worker)]
            samples.append(
                (perf_counter() - begin, max(resident(workers), default=0.0), max(resident(children), default=0.0))
            )
            await asyncio.sleep(every)  # between two samples

    watching = asyncio.create_task(watch())
    try:
        yield samples
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _children(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return list(worker.children())
    except psutil.Error:
        return []


async def measure_soak(origin_url: str, count: int) -> list[tuple[float, float, float]]:
    """Measure memory over `count` photos in one batch."""
    async with service() as started, watched(started) as samples:
        await started.images_per_second(urls(origin_url, count, catalogue="soak"))
    return samples


async def measure_worst_images() -> dict[str, tuple[float, float]]:
    """Measure the peaks of the worker and of a sandbox process, in megabytes, for each kind of image."""
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        await asyncio.to_thread(_make, Path(folder))
        async with serving(web.static("/", folder)) as url:
            for name, output_format in WORST:
                async with service("--workers", "1") as started, watched(started, every=0.01) as samples:
                    path = await started.upload(manifest([f"{url}/{name}"]), format=output_format)
                    await started.ended(path)
                    batch = (await started.client.get(path)).json()
                    assert batch["status"] == "completed", batch
                peak = max(worker for _, worker, _ in samples), max(sandbox for _, _, sandbox in samples)
                peaks[f"{name} → {output_format}"] = peak
    return peaks


WORST = (
    *(("plain.jpg", output_format) for output_format in ("original", "png", "webp", "avif")),
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

"""The cases of the table: each measures one thing once, and gives a figure."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter, time

import limit
import peers
from processes import Service, manifest, origin, service, urls

Figures = dict[str, float]
LARGE = 100_000
LATENCY = 0.15


@dataclass(frozen=True, slots=True)
class Bench:
    """What the cases share; a rival is None where it cannot be had."""

    service: Service
    bodies: list[bytes]
    images: Path | None
    count: int
    img2dataset: Path | None
    brief: Path | None

    @asynccontextmanager
    async def origin(self, **options: object) -> AsyncIterator[str]:
        async with origin(images=self.images, **options) as url:
            yield url


async def turn(bench: Bench) -> Figures:
    """One measurement of everything, in images a second unless the name says otherwise."""
    figures: Figures = {}
    for case in CASES:
        figures |= await (_beside_the_limit(bench, case) if case in SHARES_OF_THE_LIMIT else case(bench))
        print("  ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)
    return figures


async def _beside_the_limit(bench: Bench, case: "Case") -> Figures:
    """With the limit as it was before and after it, because the machine's speed drifts within minutes."""
    before = limit.images_per_second(bench.bodies, images=bench.count // 3)
    figures = await case(bench)
    mean = (before + limit.images_per_second(bench.bodies, images=bench.count // 3)) / 2
    return figures | {f"limit beside {name}": mean for name in figures}


async def at_once(bench: Bench) -> Figures:
    return await _new_and_again(bench, "no latency", 0.0)


async def after_150_ms(bench: Bench) -> Figures:
    return await _new_and_again(bench, "150 ms", LATENCY)


async def _new_and_again(bench: Bench, name: str, latency: float) -> Figures:
    async with bench.origin(latency=latency) as url:
        catalogue = urls(url, bench.count, catalogue=secrets.token_hex(4))
        new = await bench.service.images_per_second(catalogue)
        return {name: new, f"{name}, again": await bench.service.images_per_second(catalogue)}


async def some_slow(bench: Bench) -> Figures:
    async with bench.origin(slow_share=0.05) as url:
        catalogue = urls(url, bench.count, catalogue=secrets.token_hex(4))
        return {"5 % slow": await bench.service.images_per_second(catalogue)}


async def small_images(bench: Bench) -> Figures:
    async with origin(side=300) as url:
        catalogue = urls(url, 2 * bench.count, catalogue=secrets.token_hex(4))
        return {"300 px": await bench.service.images_per_second(catalogue)}


async def lane_start(bench: Bench) -> Figures:
    """Milliseconds from the POST of a CSV with one image to the start of its lane, the median of 15."""
    times = []
    async with bench.origin() as url:
        for _ in range(15):
            csv = manifest(urls(url, 1, catalogue=secrets.token_hex(4)))
            sent = time()
            path = await bench.service.upload(csv)
            await bench.service.ended(path)
            started = (await bench.service.client.get(path)).json()["started_at"]
            times.append(datetime.fromisoformat(started).timestamp() - sent)
    return {"lane starts, ms": sorted(times)[7] * 1000}


async def large_upload(bench: Bench) -> Figures:
    """How long 100,000 URLs take to be accepted, status reads meanwhile, and a small batch behind them."""
    client = bench.service.client
    async with bench.origin() as url:
        path = await bench.service.upload(manifest(urls(url, 1, catalogue=secrets.token_hex(4))))
        csv = manifest(urls(url, LARGE, catalogue=secrets.token_hex(4)))
        reads = []
        started = perf_counter()
        uploading = asyncio.create_task(bench.service.upload(csv))
        while not uploading.done():
            asked = perf_counter()
            (await client.get(path)).raise_for_status()
            reads.append(perf_counter() - asked)
            await asyncio.sleep(0.02)  # one reader who looks often, not a load test of its own
        accepted = perf_counter() - started
        await asyncio.sleep(2)  # by then the lanes of the large batch are all at work
        small = []
        for _ in range(3):
            csv = manifest(urls(url, 10, catalogue=secrets.token_hex(4)))
            started = perf_counter()
            await bench.service.ended(await bench.service.upload(csv))
            small.append(perf_counter() - started)
        (await client.post(f"{uploading.result()}/cancel")).raise_for_status()
        await bench.service.ended(uploading.result())
    return {
        "100,000 URLs accepted, s": accepted,
        "status reads p99, ms": sorted(reads)[int(len(reads) * 0.99)] * 1000,
        "small batch behind it, s": sorted(small)[1],
    }


async def one_and_two_processes(bench: Bench) -> Figures:
    alone = limit.images_per_second(bench.bodies, images=bench.count // 4, processes=1)
    everywhere = limit.images_per_second(bench.bodies, images=bench.count // 2)
    figures = {"limit of one process": alone, "limit of two processes": everywhere}
    for workers in (1, 2):
        async with service("--workers", str(workers), CODEC_THREADS=1) as started, bench.origin() as url:
            await started.images_per_second(urls(url, 200, catalogue="warm-up"))
            catalogue = urls(url, bench.count // 2, catalogue="new")
            figures[f"{workers} process{'es' * (workers > 1)}"] = await started.images_per_second(catalogue)
    return figures


async def img2dataset(bench: Bench) -> Figures:
    figures: Figures = {}
    for name, latency in (("no latency", 0.0), ("150 ms", LATENCY)):
        if bench.img2dataset:
            async with bench.origin(latency=latency) as url:
                catalogue = urls(url, min(bench.count, 1_500), catalogue="new")
                steady, whole = await peers.img2dataset(bench.img2dataset, catalogue)
            figures |= {f"img2dataset, {name}": steady, f"img2dataset with its start, {name}": whole}
    return figures


async def brief(bench: Bench) -> Figures:
    figures: Figures = {}
    for name, latency, count in (("no latency", 0.0, 500), ("150 ms", LATENCY, 60)):
        if bench.brief:
            async with bench.origin(latency=latency) as url, peers.brief(bench.brief) as running:
                await running.ready(url)
                catalogues = [urls(url, count, catalogue=name) for name in ("one", "other")]
                figures[f"Flask and Celery, {name}"] = await running.images_per_second(catalogues[:1])
                figures[f"Flask and Celery, two CSVs, {name}"] = await running.images_per_second(catalogues)
    return figures


Case = Callable[[Bench], Awaitable[Figures]]
CASES: tuple[Case, ...] = (
    at_once,
    after_150_ms,
    some_slow,
    small_images,
    lane_start,
    large_upload,
    one_and_two_processes,
    img2dataset,
    brief,
)
SHARES_OF_THE_LIMIT: tuple[Case, ...] = (at_once, after_150_ms, some_slow, img2dataset, brief)

"""The cases of the table: each measures one thing once and returns its figures."""

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
    """Shared inputs of the cases; a peer is None where it cannot be installed."""

    service: Service
    bodies: list[bytes]
    images: Path | None
    count: int
    img2dataset: Path | None
    flask_celery: Path | None

    @asynccontextmanager
    async def origin(self, **options: object) -> AsyncIterator[str]:
        async with origin(images=self.images, **options) as url:
            yield url


async def run_cases(bench: Bench) -> Figures:
    """Run every case once; figures are in images per second unless their name has another unit."""
    figures: Figures = {}
    for case in CASES:
        figures |= await (_with_limit(bench, case) if case in COMPARED_WITH_LIMIT else case(bench))
        print("  ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)
    return figures


async def _with_limit(bench: Bench, case: "Case") -> Figures:
    """Run a case and add the mean of the limit before and after it: the machine's speed drifts within minutes."""
    before = limit.images_per_second(bench.bodies, images=bench.count // 3)
    figures = await case(bench)
    mean = (before + limit.images_per_second(bench.bodies, images=bench.count // 3)) / 2
    return figures | {f"limit for {name}": mean for name in figures}


async def no_latency(bench: Bench) -> Figures:
    return await _first_and_repeated(bench, "no latency", 0.0)


async def latency_150_ms(bench: Bench) -> Figures:
    return await _first_and_repeated(bench, "150 ms", LATENCY)


async def _first_and_repeated(bench: Bench, name: str, latency: float) -> Figures:
    async with bench.origin(latency=latency) as url:
        catalogue = urls(url, bench.count, catalogue=secrets.token_hex(4))
        first = await bench.service.images_per_second(catalogue)
        return {name: first, f"{name}, again": await bench.service.images_per_second(catalogue)}


async def some_slow(bench: Bench) -> Figures:
    async with bench.origin(slow_share=0.05) as url:
        catalogue = urls(url, bench.count, catalogue=secrets.token_hex(4))
        return {"5 % slow": await bench.service.images_per_second(catalogue)}


async def small_images(bench: Bench) -> Figures:
    async with origin(side=300) as url:
        catalogue = urls(url, 2 * bench.count, catalogue=secrets.token_hex(4))
        return {"300 px": await bench.service.images_per_second(catalogue)}


async def lane_start(bench: Bench) -> Figures:
    """Measure milliseconds from the POST of a CSV with one image to the start of its lane: the median of 15."""
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
    """Measure the acceptance of 100,000 URLs, status reads during it, and a small batch queued after them."""
    client = bench.service.client
    async with bench.origin() as url:
        path = await bench.service.upload(manifest(urls(url, 1, catalogue=secrets.token_hex(4))))
        csv = manifest(urls(url, LARGE, catalogue=secrets.token_hex(4)))
        reads = []
        started = perf_counter()
        uploading = asyncio.create_task(bench.service.upload(csv))
        while not uploading.done():
            read_started = perf_counter()
            (await client.get(path)).raise_for_status()
            reads.append(perf_counter() - read_started)
            await asyncio.sleep(0.02)  # one frequent reader, not a load test
        accepted = perf_counter() - started
        await asyncio.sleep(2)  # by then all lanes of the large batch are running
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
    one_process = limit.images_per_second(bench.bodies, images=bench.count // 4, processes=1)
    all_processes = limit.images_per_second(bench.bodies, images=bench.count // 2)
    figures = {"limit of one process": one_process, "limit of two processes": all_processes}
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


async def flask_celery(bench: Bench) -> Figures:
    figures: Figures = {}
    for name, latency, count in (("no latency", 0.0, 500), ("150 ms", LATENCY, 60)):
        if bench.flask_celery:
            async with bench.origin(latency=latency) as url, peers.flask_celery(bench.flask_celery) as running:
                await running.wait_until_ready(url)
                catalogues = [urls(url, count, catalogue=name) for name in ("one", "other")]
                figures[f"Flask and Celery, {name}"] = await running.images_per_second(catalogues[:1])
                figures[f"Flask and Celery, two CSVs, {name}"] = await running.images_per_second(catalogues)
    return figures


Case = Callable[[Bench], Awaitable[Figures]]
CASES: tuple[Case, ...] = (
    no_latency,
    latency_150_ms,
    some_slow,
    small_images,
    lane_start,
    large_upload,
    one_and_two_processes,
    img2dataset,
    flask_celery,
)
COMPARED_WITH_LIMIT: tuple[Case, ...] = (no_latency, latency_150_ms, some_slow, img2dataset, flask_celery)

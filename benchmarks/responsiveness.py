"""Blocking of event loops: the lag of the API's loop and of the worker's loop, and status reads over HTTP.

    python benchmarks/responsiveness.py [--rows 20000]

Lag is the delay of a timer of 5 ms.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter

import httpx
import uvloop

from imgsvc.api.app import create_app
from imgsvc.bootstrap import lane_policy, open_asset_processor, open_resources
from imgsvc.cli.api import SWITCH_INTERVAL
from imgsvc.cli.stack import upgrade_database
from imgsvc.logs import configure_logging
from imgsvc.services.processing.work import work
from imgsvc.settings.server import Settings
from processes import manifest, origin, service, urls

TICK = 0.005


def summary(name: str, seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99, worst = (ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 for share in (0.5, 0.99, 1.0))
    return f"{name:58} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   max {worst:6.1f} ms   n {len(ordered)}"


@asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """Yield the lags of the current event loop."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            begin = perf_counter()
            await asyncio.sleep(TICK)
            lags.append(perf_counter() - begin - TICK)

    watching = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        watching.cancel()


async def in_process(rows: int, folder: Path, origin_url: str) -> None:
    """Measure the lag that the API and a lane cause in this loop, without Redis."""
    settings = Settings(data_dir=folder, redis_url="unix:///nonexistent", allowed_networks="127.0.0.0/8")
    await upgrade_database(settings)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", timeout=120) as client:
            async with lag() as lags:
                started = perf_counter()
                csv = manifest(urls(origin_url, rows, catalogue="in-process"))
                answer = await client.post("/v1/batches", files={"file": ("b.csv", csv)})
                seconds = perf_counter() - started
            print(summary(f"loop lag of the API, {rows:,} rows accepted in {seconds:.1f} s", lags))
    await worker_lag(settings, answer.json()["id"])


async def worker_lag(settings: Settings, batch_id: str) -> None:
    """Measure the lag that one lane causes in this loop within 15 s."""
    async with open_resources(settings) as resources, open_asset_processor(resources) as processor, lag() as lags:
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                await work(
                    batch_id,
                    sessions=resources.sessions,
                    queue=resources.queue,
                    processor=processor,
                    retention=resources.retention,
                    policy=lane_policy(settings),
                    stopping=asyncio.Event(),
                )
        print(summary("loop lag of a worker, one lane for 15 s", lags))


async def over_http(rows: int, origin_url: str) -> None:
    """Measure status reads of `imgsvc up` during the upload of a large batch and during its processing."""
    async with service() as started:
        path = await started.upload(manifest(urls(origin_url, 1, catalogue="small")))
        csv = manifest(urls(origin_url, rows, catalogue="large"))
        uploading = asyncio.create_task(started.upload(csv))
        times = [await read(started.client, path) async for _ in until(uploading)]
        print(summary("status reads during the upload", times))
        path = uploading.result()
        processing = asyncio.create_task(asyncio.sleep(15))
        times = [await read(started.client, path) async for _ in until(processing)]
        print(summary("status reads during processing", times))


async def until(task: "asyncio.Task[object]") -> AsyncIterator[None]:
    while not task.done():
        yield
        await asyncio.sleep(0.01)


async def read(client: httpx.AsyncClient, path: str) -> float:
    started = perf_counter()
    (await client.get(path)).raise_for_status()
    return perf_counter() - started


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    sys.setswitchinterval(SWITCH_INTERVAL)  # as `imgsvc api` does
    configure_logging("ERROR")
    async with origin() as url:
        with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
            await in_process(rows, Path(folder), url)
        await over_http(rows, url)


if __name__ == "__main__":
    uvloop.run(main())

"""How much of Pillow's own speed the whole pipeline reaches, from POST to webhook, without and with origin latency,
and how much faster an unchanged catalogue is the second time.

    python benchmarks/pipeline.py [--images DIR] [--count 3000] [--runs 3]

Origin, Valkey, database, storage and listener run on the same cores as the service. Limit and cases take turns, so
that a machine whose speed drifts drifts for all of them; the figures are medians of the ratios of each turn.
"""

import argparse
import asyncio
import os
import platform
import secrets
import statistics
from pathlib import Path
from time import perf_counter

import httpx
import PIL
from aiohttp import web
from PIL import features

import limit
from photos import pictures
from processes import SERVICE_PORT, origin, service

LATENCIES = (0.0, 0.15)
NEW, AGAIN = "new", "again"


async def images_per_second(client: httpx.AsyncClient, origin_port: int, count: int, *, catalogue: str) -> float:
    """From the POST of the CSV to the arrival of the webhook; the same `catalogue` has the same URLs."""
    arrived = asyncio.Event()

    async def receive(_: web.Request) -> web.Response:
        arrived.set()
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 18_999).start()
    rows = (f"{n},Product {n},http://127.0.0.1:{origin_port}/{catalogue}/{n}.jpg" for n in range(count))
    manifest = "\n".join(["S. No.,Product Name,Input Image Urls", *rows])
    started = perf_counter()
    answer = await client.post(
        "/v1/batches", files={"file": ("b.csv", manifest)}, data={"webhook_url": "http://127.0.0.1:18999/hook"}
    )
    answer.raise_for_status()
    await asyncio.wait_for(arrived.wait(), 600)
    seconds = perf_counter() - started
    batch = (await client.get(answer.headers["location"])).json()
    assert batch["counts"]["assets"]["succeeded"] == count, batch
    await runner.cleanup()
    return count / seconds


async def turn(client: httpx.AsyncClient, bodies: list[bytes], folder: str, count: int) -> dict[str, float]:
    """One measurement of everything."""
    figures = {"limit": limit.images_per_second(bodies, images=count)}
    catalogue = secrets.token_hex(4)
    for latency in LATENCIES:
        async with origin(latency, folder) as port:
            for name in (NEW, AGAIN):
                figures[label(latency, name)] = await images_per_second(client, port, count, catalogue=catalogue)
    return figures


def label(latency: float, name: str) -> str:
    return f"{latency * 1000:.0f} ms, {name}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="", help="a folder of JPEGs instead of made ones")
    parser.add_argument("--count", type=int, default=3_000, help="images in one batch")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    bodies = pictures(Path(options.images) if options.images else None)
    kilobytes = sum(map(len, bodies)) / len(bodies) / 1000
    print(f"{options.count} JPEGs of {kilobytes:.0f} kB on average, {os.cpu_count()} cores, {platform.machine()}")
    libjpeg = features.version("libjpeg_turbo")
    print(f"Python {platform.python_version()}, Pillow {PIL.__version__}, libjpeg-turbo {libjpeg}")
    async with service(SERVICE_PORT) as client:
        await warm_up(client, options.images)
        turns = [await turn(client, bodies, options.images, options.count) for _ in range(options.runs)]
    for figures in turns:
        print("  ".join(f"{name} {value:.0f}/s" for name, value in figures.items()))
    for latency in LATENCIES:
        shares = sorted(figures[label(latency, NEW)] / figures["limit"] for figures in turns)
        print(f"origin latency {latency * 1000:3.0f} ms: {spread(shares)} of the limit")
        gains = sorted(figures[label(latency, AGAIN)] / figures[label(latency, NEW)] for figures in turns)
        print(f"            the second time: {spread(gains)} times as fast")


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


async def warm_up(client: httpx.AsyncClient, folder: str) -> None:
    async with origin(0.0, folder) as port:
        await images_per_second(client, port, 200, catalogue="warm-up")


if __name__ == "__main__":
    asyncio.run(main())

"""What streams cost: listeners of one batch, a report of 100,000 rows, an archive; others' reads, and memory.

    python benchmarks/streams.py [--listeners 200] [--images 2000] [--rows 100000] [--uploads 4]

`--uploads` is how many uploads of 8 MiB of hostile JSON come at one time.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil

from processes import Service, manifest, origin, service, urls
from responsiveness import read, summary, until

MIB = 2**20


@dataclass
class Peak:
    """Memory of a process: before, and the most of it."""

    before: int
    most: int = 0
    readings: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.before / MIB:.0f} → at most {max(self.readings) / MIB:.0f} MiB"


@asynccontextmanager
async def memory(process: psutil.Process) -> AsyncIterator[Peak]:
    peak = Peak(process.memory_info().rss)

    async def watch() -> None:
        while True:
            peak.readings.append(process.memory_info().rss)
            await asyncio.sleep(0.02)  # often enough to see a peak, and hardly any work

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()


async def listen(client: httpx.AsyncClient, path: str, hears: asyncio.Semaphore) -> tuple[int, int]:
    """How many events came, and how many of them told of the end; each must be newer than the one before."""
    last = count = ends = 0
    async with client.stream("GET", f"{path}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
                assert number > last, (number, last)
                last, count = number, count + 1
                if count == 1:
                    hears.release()
            ends += line == "event: end"
    return count, ends


async def timed(started: Service, path: str, task: "asyncio.Task[object]", name: str) -> None:
    times = [await read(started.client, path) async for _ in until(task)]
    print(summary(name, times), flush=True)


async def listen_all(base_url: str, path: str, count: int) -> None:
    """In a process of its own, so that the reads are not held up by their own."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits, trust_env=False) as client:
        hears = asyncio.Semaphore(0)
        listening = asyncio.gather(*(listen(client, path, hears) for _ in range(count)))
        for _ in range(count):
            await hears.acquire()
        print("all listen", flush=True)
        events = await listening
    counts = [count for count, _ in events] or [0]
    assert all(ends == 1 for _, ends in events), events
    sys.stderr.write(f"  {min(counts)} to {max(counts)} events for each listener, one end each\n")


async def listeners(started: Service, origin_url: str, *, count: int, images: int) -> str:
    """The same batch twice, first without anybody; gives the path of the second."""
    small = await started.upload(manifest(urls(origin_url, 1, catalogue="small")))
    for crowd in (0, count):
        path = await started.upload(manifest(urls(origin_url, images, catalogue=f"crowd-{crowd}")))
        arguments = (__file__, "--listen", str(started.client.base_url), path, str(crowd))
        crowding = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert crowding.stdout
        await crowding.stdout.readline()
        api = started.api()
        used, began = sum(api.cpu_times()[:2]), time.perf_counter()
        async with memory(api) as peak:
            ended = asyncio.create_task(started.ended(path))
            await timed(started, small, ended, f"status reads beside {crowd} listeners")
        share = (sum(api.cpu_times()[:2]) - used) / (time.perf_counter() - began)
        assert await crowding.wait() == 0
        print(f"  API: {share:.0%} of a core, memory {peak}", flush=True)
    return path


async def download(started: Service, path: str) -> int:
    size = 0
    async with started.client.stream("GET", path) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            size += len(piece)
    return size


async def measured(started: Service, name: str, work: Awaitable[int], *, beside: str) -> None:
    """Bytes that `work` gives, its time, the API's memory, and status reads meanwhile."""
    began = time.perf_counter()
    async with memory(started.api()) as peak:
        working = asyncio.ensure_future(work)
        await timed(started, beside, asyncio.create_task(_finished(working)), f"status reads beside {name}")
    seconds = time.perf_counter() - began
    print(f"  {working.result() / MIB:.1f} MiB in {seconds:.1f} s, API's memory {peak}", flush=True)


async def _finished(work: "asyncio.Future[int]") -> None:
    await work


async def hostile_json(started: Service, count: int) -> int:
    """Lists of empty objects, which take most memory for their text."""
    body = b'{"products": [' + b"{}," * ((8 * MIB - 64) // 3) + b"{}]}"
    headers = {"Content-Type": "application/json"}
    answers = [started.client.post("/v1/batches", content=body, headers=headers) for _ in range(count)]
    for answer in await asyncio.gather(*answers):
        assert answer.status_code == 422, answer.text
    return len(body) * count


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--uploads", type=int, default=4)
    parser.add_argument("--listen", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        base_url, path, count = options.listen
        await listen_all(base_url, path, int(count))
        return
    async with origin() as url, service() as started:
        path = await listeners(started, url, count=options.listeners, images=options.images)
        await measured(
            started, f"an archive of {options.images:,} images", download(started, f"{path}/archive.zip"), beside=path
        )
        rows = [
            f"{number},Product {number},{url}/crowd-0/{number % options.images}.jpg" for number in range(options.rows)
        ]
        large = await started.upload("\n".join(["S. No.,Product Name,Input Image Urls", *rows]))
        await started.ended(large)
        await measured(
            started, f"a report of {options.rows:,} rows", download(started, f"{large}/output.csv"), beside=path
        )
        await measured(
            started, f"{options.uploads} uploads of hostile JSON", hostile_json(started, options.uploads), beside=path
        )


if __name__ == "__main__":
    asyncio.run(main())

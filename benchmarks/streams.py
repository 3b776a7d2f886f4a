"""The cost of streams (listeners of one batch, a report of 100,000 rows, an archive) in memory and in status reads.

    python benchmarks/streams.py [--listeners 200] [--images 2000] [--rows 100000] [--uploads 4]

`--uploads` is the number of concurrent uploads of 8 MiB of hostile JSON.
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
    """The memory of a process before a measurement, and its readings during it."""

    before: int
    readings: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.before / MIB:.0f} → peak {max(self.readings) / MIB:.0f} MiB"


@asynccontextmanager
async def memory(process: psutil.Process) -> AsyncIterator[Peak]:
    peak = Peak(process.memory_info().rss)

    async def watch() -> None:
        while True:
            peak.readings.append(process.memory_info().rss)
            await asyncio.sleep(0.02)  # frequent enough for peaks, and cheap

    watching = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        watching.cancel()


async def listen(client: httpx.AsyncClient, path: str, connected: asyncio.Semaphore) -> tuple[int, int]:
    """Count the events, and those that report the end; each event must be newer than the previous one."""
    last = count = ends = 0
    async with client.stream("GET", f"{path}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
                assert number > last, (number, last)
                last, count = number, count + 1
                if count == 1:
                    connected.release()
            ends += line == "event: end"
    return count, ends


async def timed(started: Service, path: str, task: "asyncio.Task[object]", name: str) -> None:
    times = [await read(started.client, path) async for _ in until(task)]
    print(summary(name, times), flush=True)


async def listen_all(base_url: str, path: str, count: int) -> None:
    """Open all listeners; runs in a separate process, so that they do not delay the measured reads."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits, trust_env=False) as client:
        connected = asyncio.Semaphore(0)
        listening = asyncio.gather(*(listen(client, path, connected) for _ in range(count)))
        for _ in range(count):
            await connected.acquire()
        print("all connected", flush=True)
        events = await listening
    counts = [count for count, _ in events] or [0]
    assert all(ends == 1 for _, ends in events), events
    sys.stderr.write(f"  {min(counts)} to {max(counts)} events per listener, one end each\n")


async def listeners(started: Service, origin_url: str, *, count: int, images: int) -> str:
    """Run the same batch without and with listeners; return the path of the second run."""
    small = await started.upload(manifest(urls(origin_url, 1, catalogue="small")))
    for listening in (0, count):
        path = await started.upload(manifest(urls(origin_url, images, catalogue=f"listeners-{listening}")))
        arguments = (__file__, "--listen", str(started.client.base_url), path, str(listening))
        listener_process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
        )
        assert listener_process.stdout
        await listener_process.stdout.readline()
        api = started.api()
        cpu_before, begin = sum(api.cpu_times()[:2]), time.perf_counter()
        async with memory(api) as peak:
            ended = asyncio.create_task(started.ended(path))
            await timed(started, small, ended, f"status reads with {listening} listeners")
        share = (sum(api.cpu_times()[:2]) - cpu_before) / (time.perf_counter() - begin)
        assert await listener_process.wait() == 0
        print(f"  API: {share:.0%} of a core, memory {peak}", flush=True)
    return path


async def download(started: Service, path: str) -> int:
    size = 0
    async with started.client.stream("GET", path) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
    return size


async def measured(started: Service, name: str, work: Awaitable[int], *, reads_of: str) -> None:
    """Print the bytes that `work` returns, its duration, the API's memory, and status reads during it."""
    begin = time.perf_counter()
    async with memory(started.api()) as peak:
        working = asyncio.ensure_future(work)
        await timed(started, reads_of, asyncio.create_task(_finished(working)), f"status reads during {name}")
    seconds = time.perf_counter() - begin
    print(f"  {working.result() / MIB:.1f} MiB in {seconds:.1f} s, API's memory {peak}", flush=True)


async def _finished(work: "asyncio.Future[int]") -> None:
    await work


async def hostile_json(started: Service, count: int) -> int:
    """Upload lists of empty objects, which take the most memory per byte of text."""
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
            started, f"an archive of {options.images:,} images", download(started, f"{path}/archive.zip"), reads_of=path
        )
        rows = [
            f"{number},Product {number},{url}/listeners-0/{number % options.images}.jpg"
            for number in range(options.rows)
        ]
        large = await started.upload("\n".join(["S. No.,Product Name,Input Image Urls", *rows]))
        await started.ended(large)
        await measured(
            started, f"a report of {options.rows:,} rows", download(started, f"{large}/output.csv"), reads_of=path
        )
        await measured(
            started, f"{options.uploads} uploads of hostile JSON", hostile_json(started, options.uploads), reads_of=path
        )


if __name__ == "__main__":
    asyncio.run(main())

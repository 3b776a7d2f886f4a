"""Measures kinds of hosts: how many images arrive, in how much of the time that the host needs, with how many refusals.

    python benchmarks/hosts.py [--runs 3] [--only capped]

The images are 16 px wide, so that the host is the bottleneck. Medians of the runs.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter
from typing import NamedTuple

import httpx

from processes import HERE, manifest, service, urls


class Case(NamedTuple):
    """A kind of host, its options, the images, worker processes and batches, and the seconds that the host needs."""

    kind: str
    options: dict[str, object]
    images: int
    workers: int
    batches: int
    ideal: float


CASES = (
    Case("queued", {"places": 2, "latency": 0.4}, 300, 2, 1, 60),
    Case("queued", {"places": 4, "latency": 0.4}, 1_000, 4, 1, 100),
    Case("queued", {"places": 2, "latency": 0.4}, 304, 8, 8, 60.8),
    *(
        Case("capped", {"refusal": refusal}, 300, 2, 1, 300 * 0.15 / 8)
        for refusal in ("reset", "close", "429", "500", "502", "503", "504", "508", "509")
    ),
    *(Case("away", {"refusal": refusal, "latency": 0.1}, 1_000, 2, 1, 15) for refusal in ("reset", "502", "503")),
    Case("away", {"refusal": "503", "away": 60, "latency": 0.1}, 1_000, 2, 1, 60),
    *(Case("rated", {"refusal": "429"}, 1_000, workers, workers, 20) for workers in (1, 8)),
)


@asynccontextmanager
async def host(case: Case) -> AsyncIterator[str]:
    """Run the origin process of a case; yield its URL."""
    words = [f"--{name}={value}" for name, value in case.options.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "host_kinds.py"), case.kind, *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def measure(case: Case) -> tuple[int, float, int]:
    """Return the images that arrived, the seconds, and the refusals."""
    async with service("--workers", str(case.workers)) as started, host(case) as url, httpx.AsyncClient() as client:
        began = perf_counter()
        per_batch = case.images // case.batches
        manifests = [manifest(urls(url, per_batch, catalogue=f"hosts-{each}")) for each in range(case.batches)]
        paths = await asyncio.gather(*map(started.upload, manifests))
        await asyncio.gather(*map(started.ended, paths))
        seconds = perf_counter() - began
        batches = [(await started.client.get(path)).json() for path in paths]
        refused = (await client.get(f"{url}/stats")).json().get("refused", 0)
        return sum(batch["counts"]["assets"]["succeeded"] for batch in batches), seconds, refused


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="a kind of host")
    options = parser.parse_args()
    print("| host | workers, batches | arrived | seconds | of the time it needs | refused |\n|---|---|---|---|---|---|")
    for case in CASES:
        if options.only in (None, case.kind):
            arrived, seconds, refused = zip(*[await measure(case) for _ in range(options.runs)], strict=True)
            words = ", ".join(f"{name} {value}" for name, value in case.options.items())
            ratio = median(seconds) / case.ideal
            print(
                f"| {case.kind}, {words} | {case.workers}, {case.batches} | {median(arrived):.0f} of {case.images} "
                f"| {median(seconds):.1f} | {ratio:.2f} | {median(refused):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())

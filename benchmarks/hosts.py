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
    """A kind of host, its options, the images and worker processes, and the seconds that the host needs."""

    kind: str
    options: dict[str, object]
    images: int
    workers: int
    ideal: float


CASES = (
    Case("queued", {"places": 2, "latency": 0.4}, 300, 2, 60),
    Case("queued", {"places": 4, "latency": 0.4}, 1_000, 4, 100),
    *(
        Case("capped", {"refusal": refusal}, 300, 2, 300 * 0.15 / 8)
        for refusal in ("reset", "close", "429", "500", "502", "503", "504", "508", "509")
    ),
    *(Case("away", {"refusal": refusal, "latency": 0.1}, 1_000, 2, 15) for refusal in ("reset", "502", "503")),
    Case("away", {"refusal": "503", "away": 60, "latency": 0.1}, 1_000, 2, 60),
    *(Case("rated", {"refusal": "429"}, 1_000, workers, 20) for workers in (1, 8)),
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
        path = await started.upload(manifest(urls(url, case.images, catalogue="hosts")))
        await started.ended(path)
        seconds = perf_counter() - began
        batch = (await started.client.get(path)).json()
        refused = (await client.get(f"{url}/stats")).json().get("refused", 0)
        return batch["counts"]["assets"]["succeeded"], seconds, refused


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="a kind of host")
    options = parser.parse_args()
    print("| host | workers | arrived | seconds | of the time it needs | refused |\n|---|---|---|---|---|---|")
    for case in CASES:
        if options.only in (None, case.kind):
            arrived, seconds, refused = zip(*[await measure(case) for _ in range(options.runs)], strict=True)
            words = ", ".join(f"{name} {value}" for name, value in case.options.items())
            ratio = median(seconds) / case.ideal
            print(
                f"| {case.kind}, {words} | {case.workers} | {median(arrived):.0f} of {case.images} "
                f"| {median(seconds):.1f} | {ratio:.2f} | {median(refused):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())

"""Growth of cost: time per image and per read, for batches of 100 to 100,000 URLs on 1, 2 and 4 worker processes.

    python benchmarks/growth.py [--largest 100000]

Images have 300 px, so that the work around Pillow dominates. The script draws docs/images/growth.svg.
"""

import argparse
import asyncio
import json
from time import perf_counter

from environments import ENVIRONMENTS
from plots import draw
from processes import Service, origin, service, urls

SIZES = (100, 1_000, 10_000, 100_000)
PROCESSES = (1, 2, 4)
MAX_REPEATED_URLS = 5_000
"""Total URLs up to which a size is measured repeatedly."""
FIGURES = ENVIRONMENTS / "growth.json"


async def median_speed(started: Service, origin_url: str, size: int) -> tuple[str, float]:
    """Return the path and images per second of the median of up to five batches of this size; large ones run once."""
    repetitions = range(max(1, min(5, MAX_REPEATED_URLS // size)))
    runs = [await started.measured(urls(origin_url, size, catalogue=f"{number}-of-{size}")) for number in repetitions]
    return sorted(runs, key=lambda run: run[1])[len(runs) // 2]


async def reads(started: Service, path: str, middle: int) -> tuple[float, float]:
    """Measure milliseconds of a status read and of a page of products from the middle: medians of 15."""
    medians = []
    for address in (path, f"{path}/products?after={middle}"):
        times = []
        for _ in range(15):
            begin = perf_counter()
            (await started.client.get(address)).raise_for_status()
            times.append(perf_counter() - begin)
        medians.append(sorted(times)[7] * 1000)
    return medians[0], medians[1]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    sizes = [size for size in SIZES if size <= parser.parse_args().largest]
    lines = ["| URLs | processes | ms per image | status read | product page |", "|---|---|---|---|---|"]
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, list[tuple[int, float]]] = {}
    async with origin(side=300) as url:
        for processes in PROCESSES:
            async with service("--workers", str(processes)) as started:
                await started.images_per_second(urls(url, 200, catalogue="warm-up"))
                for size in sizes:
                    path, speed = await median_speed(started, url, size)
                    status, page = await reads(started, path, size // 2)
                    lines.append(f"| {size:,} | {processes} | {1000 / speed:.2f} | {status:.1f} ms | {page:.1f} ms |")
                    figures.setdefault(str(processes), []).append((size, 1000 / speed))
                    print(lines[-1], flush=True)
    FIGURES.write_text(json.dumps(figures))
    await draw("growth", FIGURES)


if __name__ == "__main__":
    asyncio.run(main())

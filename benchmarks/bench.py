"""The speed compared with Pillow's own: every target in one run, and other programs with the same catalogue.

    python benchmarks/bench.py [--images DIR] [--count 3000] [--runs 3] [--soak 100000]

The limit is measured before and after each case that is compared with it, because a machine's speed drifts. Results are
medians of the ratios of each run, with their range. Origin, Valkey, database, storage and listener share the cores of
the service. The table is written to docs/performance.md, the measurements to build/bench.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL
from PIL import features

import memory
import peers
from cases import Bench, Figures, run_cases
from environments import ENVIRONMENTS, environment
from photos import photo_files
from plots import draw
from processes import HERE, origin, service, urls

DOCUMENT = HERE.parent / "docs" / "performance.md"
FIGURES = ENVIRONMENTS / "bench.json"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: `figure` of one run, compared with its target, a minimum or a maximum."""

    case: str
    unit: str
    figure: Callable[[Figures], float]
    minimum: float | None = None
    maximum: float | None = None

    def cells(self, runs: list[Figures]) -> tuple[str, str, str, str]:
        try:
            values = sorted(self.figure(figures) for figures in runs)
        except KeyError:
            return (self.case, "not available here", self._target(), "")
        median = statistics.median(values)
        missed = (self.minimum is not None and median < self.minimum) or (
            self.maximum is not None and median > self.maximum
        )
        verdict = "" if not self._target() else "**missed**" if missed else "met"
        spread = f"{median:.3g} ({values[0]:.3g}–{values[-1]:.3g}){self.unit}"
        return (self.case, spread, self._target(), verdict)

    def _target(self) -> str:
        if self.minimum is not None:
            return f"≥ {self.minimum:g}{self.unit}"
        return f"≤ {self.maximum:g}{self.unit}" if self.maximum is not None else ""


def share_of_limit(name: str) -> Callable[[Figures], float]:
    return ratio(name, f"limit for {name}")


def ratio(name: str, other: str) -> Callable[[Figures], float]:
    return lambda figures: figures[name] / figures[other]


def plain(name: str) -> Callable[[Figures], float]:
    return lambda figures: figures[name]


ROWS = (
    Row("the limit: Pillow alone, a process per core", "/s", plain("limit for no latency")),
    Row("origin without latency", " of the limit", share_of_limit("no latency"), minimum=0.85),
    Row("— img2dataset, steady", " of the limit", share_of_limit("img2dataset, no latency")),
    Row("— img2dataset, with its start-up", " of the limit", share_of_limit("img2dataset with its start, no latency")),
    Row("— Flask and Celery, one CSV", " of the limit", share_of_limit("Flask and Celery, no latency")),
    Row("— Flask and Celery, two CSVs", " of the limit", share_of_limit("Flask and Celery, two CSVs, no latency")),
    Row("every origin answers after 150 ms", " of the limit", share_of_limit("150 ms"), minimum=0.80),
    Row("— img2dataset, steady", " of the limit", share_of_limit("img2dataset, 150 ms")),
    Row("— img2dataset, with its start-up", " of the limit", share_of_limit("img2dataset with its start, 150 ms")),
    Row("— Flask and Celery, one CSV", " of the limit", share_of_limit("Flask and Celery, 150 ms")),
    Row("— Flask and Celery, two CSVs", " of the limit", share_of_limit("Flask and Celery, two CSVs, 150 ms")),
    Row("5 % of the URLs take 3 s", " of the limit", share_of_limit("5 % slow"), minimum=0.70),
    Row("images of 300 px", "/s", plain("300 px"), minimum=500),
    Row("an unchanged catalogue again", " × the first", ratio("no latency, again", "no latency"), minimum=6),
    Row("— with 150 ms", " × the first", ratio("150 ms, again", "150 ms"), minimum=6),
    Row("100,000 URLs accepted in", " s", plain("100,000 URLs accepted, s"), maximum=5),
    Row("— status reads during it, p99", " ms", plain("status reads p99, ms"), maximum=50),
    Row("— a small batch after them ends in", " s", plain("small batch behind it, s"), maximum=3),
    Row("POST of one image → its lane starts, median", " ms", plain("lane starts, ms"), maximum=60),
    Row("two processes of one codec thread", " × one", ratio("2 processes", "1 process"), minimum=1.8),
    Row("— Pillow alone: a process per core", " × one", ratio("limit of two processes", "limit of one process")),
)


def memory_cells(
    soak: list[tuple[float, float, float]], count: int, worst: dict[str, tuple[float, float]]
) -> list[tuple[str, str, str, str]]:
    rows = []
    if soak:
        tenth = max(1, len(soak) // 10)
        early, late = (max(worker for _, worker, _ in part) for part in (soak[tenth : 2 * tenth], soak[-tenth:]))
        peak = max(worker for _, worker, _ in soak)
        figure = f"{peak:.0f} MB; {early:.0f} after a tenth, {late:.0f} at the end"
        verdict = "met" if peak <= 300 and late <= 1.1 * early else "**missed**"
        rows.append((f"the largest worker over {count:,} photos", figure, "≤ 300 MB, flat", verdict))
    if worst:
        peak = max(worker for worker, _ in worst.values())
        verdict = "met" if peak <= 700 else "**missed**"
        rows.append(("a worker with the worst images allowed", f"{peak:.0f} MB", "≤ 700 MB", verdict))
        rows.append(
            ("— a sandbox process for one of them", f"{max(sandbox for _, sandbox in worst.values()):.0f} MB", "", "")
        )
    return rows


def table(cells: list[tuple[str, str, str, str]]) -> str:
    return "\n".join(
        ["| case | median (range) | target | |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in cells)]
    )


def conditions(bench: Bench, runs: int) -> str:
    kilobytes = sum(map(len, bench.bodies)) / len(bench.bodies) / 1000
    return (
        f"{runs} runs of {bench.count:,} JPEGs of {kilobytes:.0f} kB on average; {os.cpu_count()} cores, "
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, Pillow {PIL.__version__}, "
        f"libjpeg-turbo {features.version('libjpeg_turbo')}; SQLite, embedded Valkey, local folder."
    )


def write_to_document(name: str, text: str) -> None:
    """Replace the text between the markers of `name` in docs/performance.md."""
    whole = DOCUMENT.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    new = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", whole, flags=re.DOTALL)
    DOCUMENT.write_text(new, encoding="utf-8")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs instead of generated ones")
    parser.add_argument("--count", type=int, default=3_000, help="images in one batch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--soak", type=int, default=100_000, help="images of the memory run; 0: reuse the previous measurement"
    )
    options = parser.parse_args()
    img2dataset = await environment("img2dataset", peers.IMG2DATASET)
    flask_celery = await environment("flask_celery", peers.FLASK_CELERY)
    async with service() as started:
        bodies = photo_files(options.images)
        bench = Bench(started, bodies, options.images, options.count, img2dataset, flask_celery)
        async with bench.origin() as url:
            await started.images_per_second(urls(url, 300, catalogue="warm-up"))
        runs = [await run_cases(bench) for _ in range(options.runs)]
    earlier = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    soak, soaked = earlier.get("soak", []), earlier.get("soaked", 0)
    if options.soak:
        async with origin(images=options.images) as url:
            soak, soaked = await memory.measure_soak(url, options.soak), options.soak
    worst = await memory.measure_worst_images()
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps({"runs": runs, "soak": soak, "soaked": soaked, "worst": worst}, indent=1))
    cells = [*(row.cells(runs) for row in ROWS), *memory_cells(soak, soaked, worst)]
    text = f"{table(cells)}\n\n{conditions(bench, options.runs)}"
    print(text)
    write_to_document("table", text)
    await draw("speed", FIGURES)
    await draw("memory", FIGURES)


if __name__ == "__main__":
    asyncio.run(main())

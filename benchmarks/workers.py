"""Measures what more worker processes cost: 16-pixel images on Postgres, so that nearly everything is coordination.

    PYTHONPATH=tests python benchmarks/workers.py [--runs 5] [--images 4000] [--batches 8] [--workers 1,2,4,8]

The numbers of workers take turns. Per image, in milliseconds: CPU time of the workers, of the API, of Redis and of
Postgres, of all these, and of the workers' event loops alone; then commands of Redis and transactions of Postgres.
Medians of the runs; the origins, two processes on the same machine, are not counted.
"""

import argparse
import asyncio
import tempfile
from collections import defaultdict
from contextlib import aclosing
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil
from redis.asyncio import Redis
from sqlalchemy import text

from imgsvc.db.engine import Sessions, open_sessions
from processes import Service, manifest, origin, service, urls
from support.databases import Postgres
from waiting import commands

WARM_UP = 64


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and all its children, also of those that have ended."""
    times = process.cpu_times()
    own: float = times.user + times.system + times.children_user + times.children_system
    return own + sum(cpu_seconds(child) for child in process.children())


def loop_seconds(process: psutil.Process) -> float:
    """Return the CPU time of the main thread, which runs the event loop."""
    main = next(thread for thread in process.threads() if thread.id == process.pid)
    return float(main.user_time + main.system_time)


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))


async def used(parts: dict[str, list[psutil.Process]], redis: Redis, sessions: Sessions) -> dict[str, float]:
    """Return the CPU time of all parts in milliseconds, and the commands and transactions, so far."""
    cpu = {part: sum(map(cpu_seconds, processes)) * 1000 for part, processes in parts.items()}
    loops = sum(map(loop_seconds, parts["workers"])) * 1000
    async with sessions.read() as session:
        found = await (await session.connection()).execute(text("SELECT sum(xact_commit) FROM pg_stat_database"))
    transactions = float(found.scalar_one())
    return {
        **cpu,
        "all": sum(cpu.values()),
        "loops": loops,
        "commands": await commands(redis),
        "transactions": transactions,
    }


async def measure(workers: int, images: int, batches: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Postgres(Path(folder)) as server:
        url = server.url("postgres")
        async with (
            origin(side=16) as one,
            origin(side=16) as other,
            service("--workers", str(workers), DATABASE_URL=url) as started,
            aclosing(open_sessions(url)) as sessions,
            Redis.from_url(started.environment()["IMGSVC_REDIS_URL"]) as redis,
        ):
            await process(started, [one, other], WARM_UP * batches, batches, "warm-up")
            parts = {
                "workers": started.workers(),
                "api": [started.api()],
                "redis": [started.redis()],
                "postgres": [postmaster(Path(folder))],
            }
            before = await used(parts, redis, sessions)
            seconds = await process(started, [one, other], images, batches, "measured")
            after = await used(parts, redis, sessions)
    return {"images/s": images / seconds} | {name: (after[name] - before[name]) / images for name in before}


async def process(started: Service, origins: list[str], images: int, batches: int, catalogue: str) -> float:
    """Process the images in this number of batches at once; return the seconds."""
    began = perf_counter()
    csvs = [
        manifest(urls(origins[number % len(origins)], images // batches, catalogue=f"{catalogue}-{number}"))
        for number in range(batches)
    ]
    paths = await asyncio.gather(*map(started.upload, csvs))
    await asyncio.gather(*map(started.ended, paths))
    return perf_counter() - began


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--workers", default="1,2,4,8")
    options = parser.parse_args()
    found: defaultdict[int, list[dict[str, float]]] = defaultdict(list)
    for _ in range(options.runs):
        for workers in map(int, options.workers.split(",")):
            found[workers].append(await measure(workers, options.images, options.batches))
            print(workers, {name: round(value, 2) for name, value in found[workers][-1].items()}, flush=True)
    columns = list(next(iter(found.values()))[0])
    print("| workers | " + " | ".join(columns) + " |\n|" + "---|" * (1 + len(columns)))
    for workers, runs in found.items():
        print(f"| {workers} | " + " | ".join(f"{median(run[name] for run in runs):.2f}" for name in columns) + " |")


if __name__ == "__main__":
    asyncio.run(main())

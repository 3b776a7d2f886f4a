"""One batch of a million URLs: upload, first lanes, status, cancellation, report, retry and deletion.

    PYTHONPATH=tests python benchmarks/million.py [--urls N] [--database sqlite|postgres] [--report] [--folder DIR]

It runs `imgsvc up` with raised limits and an origin on loopback that answers 404. The images are not all processed: the
batch is cancelled, and its assets are marked as failed by a statement before the retry. While an operation runs, the
status of the batch is read every 50 ms, small batches are uploaded, and the memory of the API is sampled.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx
from aiohttp import web
from sqlalchemy import text, update
from sqlmodel import col

from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Asset, Batch
from processes import Service, manifest, service, serving
from support.databases import Postgres

SERVER = ("shared_buffers=512MB", "max_wal_size=4GB")
MIB = 2**20
LIMITS = {
    "MAX_ROWS": 2_000_000,
    "MAX_ASSETS": 2_000_000,
    "MAX_UPLOAD_BYTES": 512 * MIB,
    "MAX_OPEN_IMAGES": 5_000_000,
    "UPLOADS_PER_MINUTE": 10_000,
}


class Refusals:
    """An origin that answers 404, counts, and notes the time of its first request."""

    def __init__(self) -> None:
        self.count = 0
        self.first_at: float | None = None

    async def respond(self, _: web.Request) -> web.Response:
        self.count += 1
        self.first_at = self.first_at or perf_counter()
        return web.Response(status=404)


class Meter:
    """The effects while an operation runs: memory, status reads, small uploads, transactions and WAL."""

    def __init__(self, started: Service, sessions: Sessions, csv: str) -> None:
        self._started, self._sessions, self._csv = started, sessions, csv
        self.path: str | None = None
        """The batch whose status is read."""

    @asynccontextmanager
    async def measure(self, name: str) -> AsyncIterator[None]:
        api = self._started.api()
        reads: list[float] = []
        uploads: list[float] = []
        memory = [api.memory_info().rss]
        before, cpu = await self._writes(), sum(api.cpu_times()[:2])

        async def sample() -> None:
            while True:
                memory.append(api.memory_info().rss)
                await asyncio.sleep(0.05)  # the interval of samples

        tasks = [asyncio.create_task(work) for work in (sample(), self._read(reads), self._upload(uploads))]
        begin = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - begin
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        commits, wal = (after - earlier for after, earlier in zip(await self._writes(), before, strict=True))
        print(
            f"{name}: {seconds:.2f} s, API {sum(api.cpu_times()[:2]) - cpu:.1f} s of CPU, "
            f"{memory[0] / MIB:.0f} → {max(memory) / MIB:.0f} MiB, now {memory[-1] / MIB:.0f}; "
            f"{commits:,} commits, WAL {wal / MIB:.0f} MiB; status {_spread(reads)}; small uploads {_spread(uploads)}",
            flush=True,
        )

    async def _read(self, found: list[float]) -> None:
        async with httpx.AsyncClient(base_url=self._started.client.base_url, timeout=60, trust_env=False) as client:
            while True:
                begin = perf_counter()
                (await client.get(self.path or "/v1/batches")).raise_for_status()
                found.append(perf_counter() - begin)
                await asyncio.sleep(0.05)  # the interval of samples

    async def _upload(self, found: list[float]) -> None:
        async with httpx.AsyncClient(base_url=self._started.client.base_url, timeout=60, trust_env=False) as client:
            while True:
                begin = perf_counter()
                answer = await client.post("/v1/batches", files={"file": ("small.csv", self._csv)})
                found.append(perf_counter() - begin)
                if not answer.is_success:
                    print("  a small upload:", answer.status_code, answer.text[:200], flush=True)
                await asyncio.sleep(0.5)  # the interval of uploads

    async def _writes(self) -> tuple[int, int]:
        """Return the commits and the bytes of WAL so far; SQLite does not count them."""
        if self._sessions.engine.dialect.name == "sqlite":
            return 0, 0
        statement = (
            "SELECT xact_commit, pg_current_wal_insert_lsn() - '0/0' FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        async with self._sessions.read() as session:
            row = (await (await session.connection()).execute(text(statement))).one()
        return int(row[0]), int(row[1])


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "–"
    ordered = sorted(seconds)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"{median(ordered) * 1000:.0f} / {p99 * 1000:.0f} / {ordered[-1] * 1000:.0f} ms ({len(ordered)})"


class Large:
    """One large batch, and what is measured on it."""

    def __init__(self, started: Service, sessions: Sessions, meter: Meter, csv: bytes, *, urls: int) -> None:
        self._client, self._sessions, self._meter, self._csv, self._urls = started.client, sessions, meter, csv, urls
        self._path = ""

    async def upload(self) -> None:
        file = {"file": ("large.csv", self._csv)}
        async with self._meter.measure("validate_only"):
            answer = await self._client.post("/v1/batches", params={"validate_only": "true"}, files=file, timeout=900)
        answer.raise_for_status()
        async with self._meter.measure("upload"):
            answer = await self._client.post("/v1/batches", files=file, timeout=900)
        answer.raise_for_status()
        accepted, self._path = perf_counter(), httpx.URL(answer.headers["location"]).path
        self._meter.path = self._path
        await self._until(self._has_begun, every=0.005)
        print(f"   first claim {perf_counter() - accepted:.3f} s after the 202", flush=True)

    async def run_lanes(self, origin: Refusals, seconds: float) -> None:
        before = origin.count
        async with self._meter.measure("lanes run"):
            await asyncio.sleep(seconds)  # the time that is measured
        print(f"   {(origin.count - before) / seconds:.0f} requests/s at the origin")

    async def cancel(self) -> None:
        async with self._meter.measure("cancel, the request"):
            (await self._client.post(f"{self._path}/cancel", timeout=60)).raise_for_status()
        async with self._meter.measure("cancel, the rest"):
            await self._until(self._has_ended)
        print("  ", (await self._batch())["counts"]["assets"], flush=True)

    async def report(self) -> None:
        size = 0
        report = self._client.stream("GET", f"{self._path}/output.csv", timeout=900)
        async with self._meter.measure("output.csv"), report as stream:
            async for chunk in stream.aiter_bytes():
                size += len(chunk)
        print(f"   {size / MIB:.0f} MiB")

    async def retry(self) -> None:
        """Mark all assets as failed, by a statement, and retry them."""
        failed = {"status": "failed", "processing": 0, "succeeded": 0, "cancelled": 0, "failed": self._urls}
        async with self._sessions.write() as session:
            await session.exec(
                update(Asset)
                .where(col(Asset.batch_id) == self._batch_id)
                .values(status="failed", error_code="http_404", claim=None)
            )
            changed = update(Batch).where(col(Batch.id) == self._batch_id)
            await session.exec(changed.values(**failed, errors={"http_404": self._urls}, version=Batch.version + 1))
        async with self._meter.measure("retry, the request"):
            (await self._client.post(f"{self._path}/retry", timeout=60)).raise_for_status()
        async with self._meter.measure("retry, the rest"):
            await self._until(self._is_changed)

    async def delete(self) -> None:
        self._meter.path = None
        async with self._meter.measure("delete, the request"):
            (await self._client.delete(self._path, timeout=60)).raise_for_status()
        async with self._meter.measure("delete, the rest"):
            await self._until(self._is_gone)

    async def _until(self, condition: Callable[[], Awaitable[bool]], *, every: float = 0.1) -> None:
        while True:
            if await condition():
                return
            await asyncio.sleep(every)  # the interval of looks

    async def _batch(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._client.get(self._path)).json()
        return found

    async def _has_begun(self) -> bool:
        return bool((await self._batch())["counts"]["assets"]["pending"] < self._urls)

    async def _has_ended(self) -> bool:
        return (await self._batch())["finished_at"] is not None

    async def _is_changed(self) -> bool:
        return await self._scalar("SELECT change FROM batch WHERE id = :batch_id") is None

    async def _is_gone(self) -> bool:
        return not await self._scalar("SELECT EXISTS (SELECT 1 FROM asset WHERE batch_id = :batch_id)")

    async def _scalar(self, statement: str) -> Any:
        async with self._sessions.read() as session:
            found = await (await session.connection()).execute(text(statement), {"batch_id": self._batch_id})
            return found.scalar_one()

    @property
    def _batch_id(self) -> str:
        return self._path.rpartition("/")[2]


async def run(started: Service, sessions: Sessions, *, urls: int, report: bool) -> None:
    origin = Refusals()
    async with serving(web.get("/{path:.*}", origin.respond)) as url:
        meter = Meter(started, sessions, manifest([f"{url}/small.jpg"]))
        csv = manifest(f"{url}/catalogue/{number:07}/front-view.jpg" for number in range(urls)).encode()
        print(f"{urls:,} URLs, {len(csv) / MIB:.0f} MiB; times of status reads and small uploads: median / p99 / worst")
        large = Large(started, sessions, meter, csv, urls=urls)
        await large.upload()
        await large.run_lanes(origin, 15)
        await large.cancel()
        if report:
            await large.report()
        await large.retry()
        await large.cancel()
        await large.delete()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--report", action="store_true", help="download output.csv as well")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="million-", dir=arguments.folder) as name:
        if arguments.database == "sqlite":
            await go(f"sqlite+aiosqlite:///{name}/db/imgsvc.db", arguments)
            return
        with Postgres(Path(name), settings=SERVER) as server:
            await asyncio.to_thread(server.execute, "CREATE DATABASE million")
            await go(server.url("million"), arguments)


async def go(url: str, arguments: argparse.Namespace) -> None:
    async with service("--workers", arguments.workers, DATABASE_URL=url, **LIMITS) as started:
        sessions = open_sessions(url, statement_timeout=None, busy_timeout=60)
        try:
            await run(started, sessions, urls=arguments.urls, report=arguments.report)
        finally:
            await sessions.aclose()


if __name__ == "__main__":
    asyncio.run(main())

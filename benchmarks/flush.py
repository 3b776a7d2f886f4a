"""Flushes alone on Postgres: many lanes write outcomes to one batch and claim its next assets; nothing is fetched.

    PYTHONPATH=tests python benchmarks/flush.py [--assets 60000] [--lanes 16] [--processes 2] [--turns 5]

The server writes to disk as by default. `images/s` is for all lanes together.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import uvloop

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import utc_now
from imgsvc.services.processing.flush import Run, flush
from imgsvc.services.processing.outcomes import Succeeded
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes
from support.batches import asset_row, batch_row, store
from support.databases import Postgres

RETENTION = Retention(Links("http://imgsvc.example"), None, timedelta(hours=1))
REUSE = ReuseHashes(LOCAL_KEY, [Spec()])
FOLDER = "0123456789abcdef01234567"
FLUSH = 32
SLOTS = 64


def outcome(asset: Claimed, batch_id: str) -> Succeeded:
    rendition = {
        "name": "main",
        "key": f"{FOLDER}/{batch_id}-{asset.position}-0123456789abcdef.jpg",
        "format": "jpeg",
        "width": 1000,
    }
    rendition |= {"height": 1000, "bytes": 40_000, "action": "compressed"}
    return Succeeded(
        asset, 1, input_format="jpeg", width=1000, height=1000, input_bytes=118_000, renditions=(rendition,),
        etag='"0123456789abcdef"', last_modified=None, final_url_hash="0" * 64,
        reuse_hash=REUSE.for_url(asset.origin_url),
    )  # fmt: skip


async def lane(sessions: Sessions, batch_id: str, token: str) -> int:
    """Process the batch with half of the slots per flush, as a lane does; return the number of images."""
    plan = RenditionPlan(LOCAL_KEY, batch_id, 1, [Spec()], REUSE, FOLDER)
    run, written = Run(plan, token, timedelta(seconds=60)), 0
    held: list[Claimed] = []
    while True:
        done = [outcome(asset, batch_id) for asset in held[:FLUSH]]
        held = held[FLUSH:]
        flushed = await flush(
            run, done, claim={0: SLOTS - len(held)}, in_flight=[asset.position for asset in held],
            sessions=sessions, retention=RETENTION, clock=utc_now,
        )  # fmt: skip
        written += len(done)
        if flushed is None or flushed.ended or not (held := [*held, *flushed.claimed]):
            return written


async def lanes(url: str, batch_id: str, numbers: Sequence[int]) -> int:
    sessions = open_sessions(url)
    try:
        return sum(await asyncio.gather(*(lane(sessions, batch_id, f"lane {number}") for number in numbers)))
    finally:
        await sessions.aclose()


def process(url: str, batch_id: str, numbers: Sequence[int]) -> None:
    uvloop.run(lanes(url, batch_id, numbers))


async def fill(url: str, batch_id: str, assets: int) -> None:
    sessions = open_sessions(url)
    now = datetime.now(UTC)
    await store(sessions, batch_row(batch_id, now, asset_count=assets))
    for start in range(0, assets, 5_000):
        numbers = range(start, min(start + 5_000, assets))
        urls = {number: f"http://shop.example/{batch_id}/{number}.jpg" for number in numbers}
        await store(sessions, *[asset_row(batch_id, n, now, origin_url=url, slug="a") for n, url in urls.items()])
    await sessions.aclose()


async def migrate(url: str) -> None:
    sessions = open_sessions(url)
    await migrations.upgrade(sessions)
    await sessions.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("assets", 60_000), ("lanes", 16), ("processes", 2), ("turns", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Postgres(Path(folder)) as server:
        for setting in ("fsync", "full_page_writes"):
            server.execute(f"ALTER SYSTEM SET {setting} = on")
        server.execute("ALTER SYSTEM SET max_wal_size = '1GB'")
        server.stop()
        server.start()
        server.execute("CREATE DATABASE flushes")
        url = server.url("flushes")
        asyncio.run(migrate(url))
        speeds = []
        for turn in range(arguments.turns):
            batch_id = f"bat_{turn}"
            asyncio.run(fill(url, batch_id, arguments.assets))
            groups = [range(first, arguments.lanes, arguments.processes) for first in range(arguments.processes)]
            children = [multiprocessing.Process(target=process, args=(url, batch_id, group)) for group in groups]
            begin = perf_counter()
            for child in children:
                child.start()
            for child in children:
                child.join()
            seconds = perf_counter() - begin
            speeds.append(arguments.assets / seconds)
            print(f"{speeds[-1]:,.0f} images/s", flush=True)
        print(f"median of {arguments.turns}: {statistics.median(speeds):,.0f} images/s")


if __name__ == "__main__":
    main()

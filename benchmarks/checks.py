"""checks.csv of a large batch: seconds, memory, and how late the event loop is meanwhile.

    python benchmarks/checks.py [--products 200000] [--images 250000]

Every tenth image is the same as another one, one product in twenty has a placeholder, and three images in four are too
small for some shop. The batch is in SQLite; the report is made in this process and thrown away.
"""

import argparse
import asyncio
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import uvloop

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.queries import batches
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.domain.ids import new_id
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.media_keys import digest, rendition_key
from imgsvc.services.access.links import Links
from imgsvc.services.results.checks import checks_csv
from imgsvc.services.results.report import ReportOptions, failures_csv

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LINKS = Links("https://images.shop.example")
TICK = 0.005


def asset(batch_id: str, position: int) -> dict[str, Any]:
    same = 0 if position % 20 == 0 else position - 1 if position % 10 == 5 else position
    side = 400 + 100 * (position % 8)
    facts = {"format": "jpeg", "width": side, "height": side, "bytes": 40_000 + position % 1_000}
    key = rendition_key(
        folder="0" * 24,
        name=f"mountain-print-{position}",
        rendition="main",
        digest=digest(b"%d" % same),
        extension="jpg",
    )
    return {
        "batch_id": batch_id,
        "position": position,
        "slug": "mountain-print",
        "status": "succeeded",
        "origin_url": f"https://shop.example/images/products/{position}/front.jpg",
        "due_at": NOW,
        "updated_at": NOW,
        "input_format": "jpeg",
        "width": side,
        "height": side,
        "input_bytes": 90_000,
        "renditions": [{"name": "main", "key": key, "action": "compressed", **facts}],
    }


def product(batch_id: str, row: int, rows: int, images: int) -> dict[str, Any]:
    slots = list(range(row * images // rows, (row + 1) * images // rows))
    serial, name = f"SKU-{row:08}", f"Mountain{row % 97} print {row}"
    urls = ",".join(f"https://shop.example/images/products/{slot}/front.jpg" for slot in slots)
    return {
        "batch_id": batch_id,
        "position": row,
        "serial_number": serial,
        "product_name": name,
        "cells": [serial, name, "A print of a mountain, on paper", "19.90", urls],
        "slots": slots,
    }


async def fill(sessions: Sessions, products: int, images: int) -> Batch:
    batch = Batch(
        id=new_id("bat", NOW), api_key_id=LOCAL_KEY, status="completed", specs=[Spec().model_dump(mode="json")],
        manifest_sha256="", header=["SKU", "Name", "Text", "Price", "Images"], url_column=4, encoding="utf-8",
        delimiter=",", warnings=[], product_count=products, url_count=images, asset_count=images, succeeded=images,
        created_at=NOW,
    )  # fmt: skip
    async with sessions.write() as session:
        session.add(batch)
        await session.flush()
        await batches.insert_rows(
            session, Product, (product(batch.id, row, products, images) for row in range(products))
        )
        await batches.insert_rows(session, Asset, (asset(batch.id, position) for position in range(images)))
    return batch


class Watch:
    """Watches the memory of this process and the lateness of its event loop."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.late: list[float] = []
        self.before = self.peak = self._process.memory_info().rss

    async def run(self) -> None:
        while True:
            started = perf_counter()
            await asyncio.sleep(TICK)  # how much later it returns is what is measured
            self.late.append(perf_counter() - started - TICK)
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __str__(self) -> str:
        late = sorted(self.late)
        return (
            f"{self.before / 1e6:.0f} MB before, {self.peak / 1e6:.0f} MB at most; the event loop is late by "
            f"{1e3 * late[len(late) * 99 // 100]:.1f} ms (p99), {1e3 * late[-1]:.0f} ms (worst)"
        )


async def measure(batch: Batch, sessions: Sessions) -> None:
    reports = {
        "failures.csv": failures_csv(batch, ReportOptions(), sessions=sessions),
        "checks.csv": checks_csv(batch, (), ReportOptions(), sessions=sessions, links=LINKS),
    }
    for name, report in reports.items():
        watch, started, sizes, waits = Watch(), perf_counter(), [], []
        task, last = asyncio.create_task(watch.run()), started
        async for text in report:
            sizes.append(len(text.encode()))
            waits.append(perf_counter() - last)
            last = perf_counter()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        print(f"{name}: {perf_counter() - started:.1f} s, {sum(sizes) / 1e6:.1f} MB, longest pause {max(waits):.1f} s")
        print(f"  {watch}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=200_000)
    parser.add_argument("--images", type=int, default=250_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        sessions = open_sessions(f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}")
        await migrations.upgrade(sessions)
        batch = await fill(sessions, options.products, options.images)
        await measure(batch, sessions)
        await sessions.aclose()


if __name__ == "__main__":
    uvloop.run(main())

"""The verdict: whether everything that was promised is there when all has calmed down."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import select

from chaos.calls import Calls, Violation
from chaos.mailbox import Mailbox
from chaos.orders import HEADER, OUTPUT, Order, Slot
from chaos.plan import History
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.domain.status import FINISHED_BATCH
from support.batches import consistent_batch

OUR_FAULTS = ('"job_failed"', '"asset_failed_unexpectedly"', '"unhandled_error"')
"""In lines of the log: an error that nobody foresaw."""


@dataclass
class Verdict:
    """Looks at every order from outside, and at the database for what is not to be seen from there."""

    calls: Calls
    mailbox: Mailbox
    history: History
    sessions: Sessions
    violations: list[str] = field(default_factory=list)
    images: int = 0
    excused: Counter[str] = field(default_factory=Counter)
    """Good images that failed because of an outage, by code."""

    async def judge(self, orders: list[Order], log: Path) -> None:
        """`log` is that of imgsvc."""
        for order in orders:
            if order.batch_id:
                async for broken in self._faults_of(order):
                    self.violations.append(f"{order.key} ({order.batch_id}): {broken}")
        self.violations += self.mailbox.forged
        self.violations += await self._one_batch_for_each_key(orders)
        self.violations += _complaints(log)

    async def _faults_of(self, order: Order) -> AsyncIterator[str]:
        try:
            for broken in await self._announcements(order):
                yield broken
            if not order.is_deleted:
                for broken in await self._slots(order):
                    yield broken
                await consistent_batch(self.sessions, order.batch_id)
        except (Violation, AssertionError) as error:
            yield str(error)

    # -- announcements ------------------------------------------------------------------------------------------------

    async def _announcements(self, order: Order) -> list[str]:
        """One id for each end of a round, and each one that was written down has arrived."""
        events = self.mailbox.of(order.batch_id)
        least, most = (order.least_rounds, order.most_rounds) if order.has_webhook else (0, 0)
        if not least <= len(events) <= most:
            return [f"{len(events)} events instead of {least} to {most}: {events}"]
        if order.is_deleted:
            return []
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}/deliveries", 200)
        rows = sorted(answer.json()["data"], key=lambda row: int(row["round"]))
        written = {row["id"]: row["event_type"] for row in rows}
        arrived = {key: event.event_type for key, event in events.items()}
        found = [] if written == arrived else [f"announced {arrived}, written down {written}"]
        found += [f"not delivered: {row}" for row in rows if row["status"] != "delivered"]
        found += [f"attempts are missing: {row}" for row in rows if not _is_complete(row)]
        if [row["round"] for row in rows] != list(range(1, len(rows) + 1)):
            found.append(f"not one for each round: {rows}")
        if rows and rows[-1]["event_type"] != f"batch.{order.status}":
            found.append(f"it ended as {order.status} and was announced as {rows[-1]['event_type']}")
        return found

    # -- slots --------------------------------------------------------------------------------------------------------

    async def _slots(self, order: Order) -> list[str]:
        """Batch, products, report and images say the same, and it is right."""
        batch = (await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 200))[0].json()
        report = (await self.calls.call("GET", f"/v1/batches/{order.batch_id}/output.csv", 200))[0].text
        products = [product async for product in self._products(order)]
        found = [] if batch["status"] in FINISHED_BATCH else [f"never ended: {batch}"]
        if batch["status"] != order.status:
            found.append(f"it ended as {order.status} and is {batch['status']} now")
        if batch["counts"]["assets"]["total"] != len(order.slots):
            found.append(f"{len(order.slots)} URLs became {batch['counts']}")
        if [product["input_urls"] for product in products] != [[s.url for s in slots] for slots in order.products]:
            found.append("its products are not those of the manifest")
        found += _report_faults(order, report, products)
        is_cancelled = batch["status"] == "cancelled"
        for url, asset in {asset["input_url"]: asset for p in products for asset in p["assets"]}.items():
            wrong = await self._wrong(order.slots[url], asset, order, is_cancelled=is_cancelled)
            found += [f"{url} {wrong}: {asset}"] if wrong else []
        return found

    async def _products(self, order: Order) -> AsyncIterator[Any]:
        after: int | None = -1
        while after is not None:
            path = f"/v1/batches/{order.batch_id}/products"
            page = (await self.calls.call("GET", path, 200, params={"after": after, "limit": 20}))[0].json()
            for product in page["data"]:
                yield product
            after = page["next"]

    async def _wrong(self, slot: Slot, asset: Any, order: Order, *, is_cancelled: bool) -> str:
        """What is wrong with an asset; empty when nothing is."""
        self.images += 1
        code = asset["error"] and asset["error"]["code"]
        if asset["status"] == "cancelled" and is_cancelled:
            return ""
        if asset["status"] == "succeeded":
            size = await self.calls.image(asset["output_url"])
            return "" if size == slot.size else f"was to be {slot.size or slot.code} and is {size}"
        if asset["status"] != "failed":
            return "is not at its end"
        excuses = self.history.excuses(order.sent_at, order.ended_at or self.history.now())
        if excuses and slot.is_flaky:
            excuses.add("http_503")  # its last attempt met this, those before the outage
        if code in excuses:
            self.excused[code] += slot.code is None
            return ""
        return "" if code == slot.code else f"was to end with {slot.code or 'an image'}"

    # -- the whole ----------------------------------------------------------------------------------------------------

    async def _one_batch_for_each_key(self, orders: list[Order]) -> list[str]:
        """By the metadata of each upload; deleted batches may be gone."""
        async with self.sessions.read() as session:
            rows = list(await session.exec(select(Batch.id, Batch.extra)))
        known = {order.key: order for order in orders}
        found = [
            f"{batch_id} was made for {extra['order']}, which was told {known[extra['order']].batch_id}"
            for batch_id, extra in rows
            if known[extra["order"]].batch_id not in ("", batch_id)
        ]
        made = Counter(extra["order"] for _, extra in rows)
        found += [f"{key} made {count} batches" for key, count in made.items() if count > 1]
        kept = {order.key for order in orders if order.batch_id and not order.is_deleted}
        return found + [f"{key} was accepted and is gone" for key in sorted(kept - made.keys())]


def _is_complete(delivery: Any) -> bool:
    """Whether every attempt stands in the log, and the last one was taken."""
    log = delivery["log"]
    return [entry["number"] for entry in log] == list(range(1, delivery["attempts"] + 1)) and log[-1][
        "http_status"
    ] == 200


def _complaints(log: Path) -> Iterator[str]:
    """What imgsvc itself calls a fault of its own."""
    for line in log.read_text().splitlines():
        if any(event in line for event in OUR_FAULTS):
            yield f"in the log: {line}"


def _report_faults(order: Order, report: str, products: list[Any]) -> Iterator[str]:
    """Every row as uploaded, with as many slots as URLs, the same as the products page has."""
    rows = list(csv.DictReader(io.StringIO(report, newline="")))
    sent = list(csv.DictReader(io.StringIO(order.manifest().decode(), newline="")))
    if [{name: row[name] for name in HEADER} for row in rows] != sent:
        yield "output.csv does not have the rows of the upload"
        return
    for row, product in zip(rows, products, strict=True):
        slots = row[OUTPUT].split(",") if product["input_urls"] else []
        if slots != [url or "" for url in product["output_urls"]]:
            yield f"output.csv has {slots} where the products have {product['output_urls']}"

"""The checks at the end of a run: every promise, when all work is done."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from chaos.calls import Calls, Violation
from chaos.isolation import listed_for, seen_by_stranger
from chaos.orders import HEADER, OUTPUT, Order, Slot
from chaos.owners import Owner
from chaos.plan import History
from chaos.receiver import WebhookReceiver
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.domain.status import FINISHED_BATCH
from support.batches import consistent_batch

BUGS = ('"job_failed"', '"asset_failed_unexpectedly"', '"unhandled_error"')
"""Log events of unexpected errors."""


@dataclass
class FinalChecks:
    """The checks of every order through the API, and in the database for what the API does not show."""

    owner: Owner
    calls: Calls
    stranger: Calls
    """Calls with the API key of another owner."""
    receiver: WebhookReceiver
    history: History
    sessions: Sessions
    violations: list[str] = field(default_factory=list)
    images: int = 0
    excused: Counter[str] = field(default_factory=Counter)
    """Good images that failed because of an outage, by code."""

    async def run(self, orders: list[Order]) -> None:
        """Check all orders of the owner."""
        self.violations += await listed_for(self.owner.name, self.calls, orders)
        for order in orders:
            if order.batch_id:
                self.violations += await seen_by_stranger(order, self.stranger)
                async for violation in self._violations_of(order):
                    self.violations.append(f"{order.label} ({order.batch_id}): {violation}")
        self.violations += await self._check_keys(orders)

    async def _violations_of(self, order: Order) -> AsyncIterator[str]:
        try:
            for violation in await self._check_events(order):
                yield violation
            if not order.is_deleted:
                for violation in await self._check_slots(order):
                    yield violation
                await consistent_batch(self.sessions, order.batch_id)
        except (Violation, AssertionError) as error:
            yield str(error)

    # -- events -------------------------------------------------------------------------------------------------------

    async def _check_events(self, order: Order) -> list[str]:
        """Check that each end of a round has one event, and that every stored event has arrived."""
        events = self.receiver.events_of(order.batch_id)
        least, most = (order.min_rounds, order.max_rounds) if order.has_webhook else (0, 0)
        if not least <= len(events) <= most:
            return [f"{len(events)} events instead of {least} to {most}: {events}"]
        if order.is_deleted:
            return []
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}/deliveries", 200)
        rows = sorted(answer.json()["data"], key=lambda row: int(row["round"]))
        stored = {row["id"]: row["event_type"] for row in rows}
        arrived = {key: event.event_type for key, event in events.items()}
        found = [] if stored == arrived else [f"{arrived} arrived, but {stored} are stored"]
        found += [f"not delivered: {row}" for row in rows if row["status"] != "delivered"]
        found += [f"attempts are missing: {row}" for row in rows if not _is_complete(row)]
        if [row["round"] for row in rows] != list(range(1, len(rows) + 1)):
            found.append(f"not one delivery for each round: {rows}")
        if rows and rows[-1]["event_type"] != f"batch.{order.status}":
            found.append(f"ended as {order.status}, but announced as {rows[-1]['event_type']}")
        return found

    # -- slots --------------------------------------------------------------------------------------------------------

    async def _check_slots(self, order: Order) -> list[str]:
        """Check that batch, products, report and images agree with each other and with the expected outcome."""
        batch = (await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 200))[0].json()
        report = (await self.calls.call("GET", f"/v1/batches/{order.batch_id}/output.csv", 200))[0].text
        products = [product async for product in self._products(order)]
        found = [] if batch["status"] in FINISHED_BATCH else [f"never ended: {batch}"]
        if batch["status"] != order.status:
            found.append(f"ended as {order.status}, but is {batch['status']} now")
        if batch["counts"]["assets"]["total"] != len(order.slots):
            found.append(f"{len(order.slots)} URLs became {batch['counts']}")
        if [product["input_urls"] for product in products] != [[s.url for s in slots] for slots in order.products]:
            found.append("its products are not those of the manifest")
        found += _check_report(order, report, products)
        found += await self._check_changes(order, batch)
        is_cancelled = batch["status"] == "cancelled"
        for url, asset in {asset["input_url"]: asset for p in products for asset in p["assets"]}.items():
            problem = await self._check_asset(order.slots[url], asset, order, is_cancelled=is_cancelled)
            found += [f"{url} {problem}: {asset}"] if problem else []
        return found

    async def _check_changes(self, order: Order, batch: Any) -> list[str]:
        """Check that a version was compared, and that changes.csv has the rows that the batch counts."""
        changes = batch["changes"]
        if not order.is_version or order.plan == "cancel":
            return [] if changes is None or order.is_version else [f"it is no version, but has {changes}"]
        if changes is None:
            return ["it was not compared"]
        if sum(changes[name] for name in ("new", "changed", "unchanged")) != len(order.products):
            return [f"{len(order.products)} products became {changes}"]
        path = f"/v1/batches/{order.batch_id}/changes.csv"
        text = (await self.calls.call("GET", path, 200))[0].text
        extended = (await self.calls.call("GET", path, 200, params={"extended": "true"}))[0].text
        rows = len(list(csv.DictReader(io.StringIO(text, newline=""))))
        found = Counter(row["Change"] for row in csv.DictReader(io.StringIO(extended, newline="")))
        expected = Counter({name: changes[name] for name in ("new", "changed", "gone") if changes[name]})
        if rows != changes["new"] + changes["changed"] or found != expected:
            return [f"changes.csv has {rows} rows and {found}, but the batch has {changes}"]
        return []

    async def _products(self, order: Order) -> AsyncIterator[Any]:
        after: int | None = -1
        while after is not None:
            path = f"/v1/batches/{order.batch_id}/products"
            page = (await self.calls.call("GET", path, 200, params={"after": after, "limit": 20}))[0].json()
            for product in page["data"]:
                yield product
            after = page["next"]

    async def _check_asset(self, slot: Slot, asset: Any, order: Order, *, is_cancelled: bool) -> str:
        """Return the problem with an asset, or an empty string."""
        self.images += 1
        code = asset["error"] and asset["error"]["code"]
        if asset["status"] == "cancelled" and is_cancelled:
            return ""
        if asset["status"] == "succeeded":
            size = await self.calls.image(asset["output_url"])
            return "" if size == slot.size else f"should be {slot.size or slot.code}, but is {size}"
        if asset["status"] != "failed":
            return "has not ended"
        excuses = self.history.excuses(order.sent_at, order.ended_at or self.history.now(), of_shop=not slot.is_paced)
        if excuses and slot.is_flaky:
            excuses.add("http_503")  # of the last attempt; the outage hit earlier ones
        if code in excuses:
            self.excused[code] += slot.code is None
            return ""
        return "" if code == slot.code else f"should have ended with {slot.code or 'an image'}"

    # -- all orders ---------------------------------------------------------------------------------------------------

    async def _check_keys(self, orders: list[Order]) -> list[str]:
        """Check that each upload made one batch, by its metadata; deleted batches may be gone."""
        async with self.sessions.read() as session:
            owned = col(Batch.api_key_id) == self.owner.key_id
            rows = list(await session.exec(select(Batch.id, Batch.extra).where(owned)))
        by_label = {order.label: order for order in orders}
        found = [
            f"{batch_id} was made for {extra['order']}, whose customer got {by_label[extra['order']].batch_id}"
            for batch_id, extra in rows
            if by_label[extra["order"]].batch_id not in ("", batch_id)
        ]
        batches = Counter(extra["order"] for _, extra in rows)
        found += [f"{key} made {count} batches" for key, count in batches.items() if count > 1]
        kept = {order.label for order in orders if order.batch_id and not order.is_deleted}
        return found + [f"{key} was accepted, but is gone" for key in sorted(kept - batches.keys())]


def _is_complete(delivery: Any) -> bool:
    """Return whether every attempt is in the log and the last one succeeded."""
    log = delivery["log"]
    return [entry["number"] for entry in log] == list(range(1, delivery["attempts"] + 1)) and log[-1][
        "http_status"
    ] == 200


def bugs(log: Path) -> Iterator[str]:
    """Yield the log lines of unexpected errors."""
    for line in log.read_text().splitlines():
        if any(event in line for event in BUGS):
            yield f"in the log: {line}"


def _check_report(order: Order, report: str, products: list[Any]) -> Iterator[str]:
    """Check that every row is as uploaded, with one slot for each URL, equal to the products page."""
    rows = list(csv.DictReader(io.StringIO(report, newline="")))
    sent = list(csv.DictReader(io.StringIO(order.manifest().decode(), newline="")))
    if [{name: row[name] for name in HEADER} for row in rows] != sent:
        yield "output.csv does not have the rows of the upload"
        return
    for row, product in zip(rows, products, strict=True):
        slots = row[OUTPUT].split(",") if product["input_urls"] else []
        if slots != [url or "" for url in product["output_urls"]]:
            yield f"output.csv has {slots}, but the products have {product['output_urls']}"

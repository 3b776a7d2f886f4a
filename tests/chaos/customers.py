"""Customers: each sends one order after the other, follows it, and cancels, retries or deletes it as planned."""

import asyncio
import csv
import io
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chaos.calls import Calls, Violation
from chaos.orders import OUTPUT, Catalogue, Order
from chaos.plan import History
from chaos.receiver import WebhookReceiver

EVENT_WITHIN = 20.0
"""Seconds that a customer waits for the event before it deletes the batch; without the event, the batch stays."""
OPEN = ("pending", "processing")


@dataclass
class Customers:
    """The customers of one API key, with their `orders`, and the `violations` they observed."""

    name: str
    calls: Calls
    catalogue: Catalogue
    receiver: WebhookReceiver
    hook: str
    """The address of their webhooks."""
    history: History
    orders: list[Order] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def stream(self, seed: str, *, count: int, over: asyncio.Event) -> None:
        """Send orders as `count` concurrent customers until `over` is set; return when the last order has ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._customer(Random(f"{seed}/{self.name}/{number}"), over))

    async def _customer(self, rng: Random, over: asyncio.Event) -> None:
        while not over.is_set():
            order = self.catalogue.order(rng)
            self.orders.append(order)
            try:
                await self._run(order, rng)
            except Violation as violation:
                self.violations.append(f"{order.label} ({order.batch_id}): {violation}")
                self.history.note(f"VIOLATION {self.violations[-1]}")

    async def send(self, order: Order) -> None:
        """Upload the order once."""
        self.orders.append(order)
        order.sent_at = self.history.now()
        order.batch_id = await self._post(order)

    async def _run(self, order: Order, rng: Random) -> None:
        await self._upload(order, rng)
        if order.plan == "cancel":
            await self._follow(order, rng, reads=rng.randrange(4))
            await self._cancel(order)
        await self.wait_for_end(order, rng)
        if "retry" in order.plan:
            await self._retry(order)
            await self.wait_for_end(order, rng)
        if order.plan == "redeliver":
            await self._redeliver(order)
        if "delete" in order.plan:
            await self._delete(order)

    async def _upload(self, order: Order, rng: Random) -> None:
        """Upload, sometimes several times at once or again later; the key makes one batch of them all."""
        order.sent_at = self.history.now()
        repeats = rng.choice((1, 1, 1, 3))
        ids = set(await asyncio.gather(*(self._post(order) for _ in range(repeats))))
        if rng.random() < 0.2:
            ids.add(await self._post(order))
        if len(ids) != 1:
            raise Violation(f"one key made {len(ids)} batches: {sorted(ids)}")
        order.batch_id = ids.pop()

    async def _post(self, order: Order) -> str:
        answer, _ = await self.calls.call(
            *("POST", "/v1/batches", 202),
            headers={"Idempotency-Key": order.key},
            files={"file": ("shop.csv", order.manifest(), "text/csv")},
            data=order.fields(f"{self.hook}/{order.key}"),
        )
        return str(answer.json()["id"])

    async def _read(self, order: Order, wait: float = 0) -> Any:
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 200, params={"wait": wait})
        batch = answer.json()
        assets = dict(batch["counts"]["assets"])
        if assets.pop("total") != sum(assets.values()) or min(assets.values()) < 0:
            raise Violation(f"the counts do not add up: {batch['counts']}")
        return batch

    async def _follow(self, order: Order, rng: Random, *, reads: int) -> None:
        """Read the status and some partial results."""
        for _ in range(reads):
            if (await self._read(order, wait=0.3))["status"] not in OPEN:
                return
            if rng.random() < 0.3:
                await self._check_partial_report(order, rng)

    async def _check_partial_report(self, order: Order, rng: Random) -> None:
        """Check that an image in the partial report can be fetched and decoded while others are processed."""
        path = f"/v1/batches/{order.batch_id}/output.csv"
        report, _ = await self.calls.call("GET", path, 200, params={"partial": "true"})
        urls = [url for row in csv.DictReader(io.StringIO(report.text)) for url in row[OUTPUT].split(",") if url]
        if urls:
            await self.calls.image(rng.choice(urls))

    async def wait_for_end(self, order: Order, rng: Random) -> None:
        """Follow the order to the end of a round."""
        while (status := (await self._read(order, wait=2))["status"]) in OPEN:
            await self._follow(order, rng, reads=2)
        order.status = status
        order.ended_at = self.history.now()

    async def _cancel(self, order: Order) -> None:
        answer, lost = await self.calls.call("POST", f"/v1/batches/{order.batch_id}/cancel", 202, 409)
        status = (await self._read(order))["status"]
        if answer.status_code == 202 and status != "cancelled" and (status in OPEN or not order.is_version):
            raise Violation(f"the cancel was accepted, but the batch is {status}")
        if answer.status_code == 409 and (status in OPEN or (status == "cancelled" and not lost)):
            raise Violation(f"the cancel was refused, but the batch is {status}")

    async def _retry(self, order: Order) -> None:
        batch = await self._read(order)
        answer, lost = await self.calls.call("POST", f"/v1/batches/{order.batch_id}/retry", 202, 409)
        order.max_rounds += lost
        if answer.status_code == 202:
            order.min_rounds += 1
            order.max_rounds += 1
        elif not lost and batch["status"] != "cancelled" and batch["errors_by_code"].keys() - {"invalid_url"}:
            raise Violation(f"the retry was refused, but there are {batch['errors_by_code']}: {answer.text}")

    async def _redeliver(self, order: Order) -> None:
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}/deliveries", 200)
        for delivery in answer.json()["data"]:
            await self.calls.call("POST", f"/v1/deliveries/{delivery['id']}/redeliver", 202)

    async def _delete(self, order: Order) -> None:
        """Delete the batch once every round has been announced."""
        deadline = self.history.now() + EVENT_WITHIN
        while order.has_webhook and len(self.receiver.events_of(order.batch_id)) < order.min_rounds:
            if self.history.now() > deadline:
                return
            await asyncio.sleep(0.1)
        answer, lost = await self.calls.call("DELETE", f"/v1/batches/{order.batch_id}", 204, 404)
        if answer.status_code == 404 and not lost:
            raise Violation("the batch was gone before it was deleted")
        order.is_deleted = True
        await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 404)

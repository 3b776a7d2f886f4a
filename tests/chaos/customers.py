"""Customers: each sends one order after the other, follows it, and cancels, retries or deletes what it wishes to."""

import asyncio
import csv
import io
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chaos.calls import Calls, Violation
from chaos.mailbox import Mailbox
from chaos.orders import OUTPUT, Catalogue, Order
from chaos.plan import History

EVENT_WITHIN = 20.0
"""Seconds that a customer waits for the event before it deletes; where it comes later, the batch stays."""
OPEN = ("pending", "processing")


@dataclass
class Customers:
    """`count` customers at a time; `orders` has every order, `violations` what should not have been."""

    calls: Calls
    catalogue: Catalogue
    mailbox: Mailbox
    hook: str
    """The mailbox's address."""
    history: History
    orders: list[Order] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def stream(self, seed: str, *, count: int, over: asyncio.Event) -> None:
        """Orders until it is `over`; returns when the last has come to its end."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._customer(Random(f"{seed}/{number}"), over))

    async def _customer(self, rng: Random, over: asyncio.Event) -> None:
        while not over.is_set():
            order = self.catalogue.order(rng)
            self.orders.append(order)
            try:
                await self._live(order, rng)
            except Violation as violation:
                self.violations.append(f"{order.key} ({order.batch_id}): {violation}")
                self.history.note(f"VIOLATION {self.violations[-1]}")

    async def _live(self, order: Order, rng: Random) -> None:
        await self._upload(order, rng)
        if order.plan == "cancel":
            await self._follow(order, rng, looks=rng.randrange(4))
            await self._cancel(order)
        await self._end(order, rng)
        if "retry" in order.plan:
            await self._retry(order)
            await self._end(order, rng)
        if order.plan == "redeliver":
            await self._redeliver(order)
        if "delete" in order.plan:
            await self._delete(order)

    async def _upload(self, order: Order, rng: Random) -> None:
        """Some send it several times at once or again later; the key makes one batch of all."""
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

    async def _look(self, order: Order, wait: float = 0) -> Any:
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 200, params={"wait": wait})
        batch = answer.json()
        assets = dict(batch["counts"]["assets"])
        if assets.pop("total") != sum(assets.values()) or min(assets.values()) < 0:
            raise Violation(f"the counts do not sum up: {batch['counts']}")
        return batch

    async def _follow(self, order: Order, rng: Random, *, looks: int) -> None:
        """Read what there is already."""
        for _ in range(looks):
            if (await self._look(order, wait=0.3))["status"] not in OPEN:
                return
            if rng.random() < 0.3:
                await self._peek(order, rng)

    async def _peek(self, order: Order, rng: Random) -> None:
        """An image that stands in the report can be had, and is whole, while the others are still made."""
        path = f"/v1/batches/{order.batch_id}/output.csv"
        report, _ = await self.calls.call("GET", path, 200, params={"partial": "true"})
        urls = [url for row in csv.DictReader(io.StringIO(report.text)) for url in row[OUTPUT].split(",") if url]
        if urls:
            await self.calls.image(rng.choice(urls))

    async def _end(self, order: Order, rng: Random) -> None:
        """Follow it to the end of a round."""
        while (status := (await self._look(order, wait=2))["status"]) in OPEN:
            await self._follow(order, rng, looks=2)
        order.status = status
        order.ended_at = self.history.now()

    async def _cancel(self, order: Order) -> None:
        answer, lost = await self.calls.call("POST", f"/v1/batches/{order.batch_id}/cancel", 202, 409)
        status = (await self._look(order))["status"]
        if answer.status_code == 202 and status != "cancelled":
            raise Violation(f"cancelled, and yet {status}")
        if answer.status_code == 409 and (status in OPEN or (status == "cancelled" and not lost)):
            raise Violation(f"not to be cancelled, and yet {status}")

    async def _retry(self, order: Order) -> None:
        batch = await self._look(order)
        answer, lost = await self.calls.call("POST", f"/v1/batches/{order.batch_id}/retry", 202, 409)
        order.most_rounds += lost
        if answer.status_code == 202:
            order.least_rounds += 1
            order.most_rounds += 1
        elif not lost and batch["status"] != "cancelled" and batch["errors_by_code"].keys() - {"invalid_url"}:
            raise Violation(f"not to be retried, and yet there were {batch['errors_by_code']}: {answer.text}")

    async def _redeliver(self, order: Order) -> None:
        answer, _ = await self.calls.call("GET", f"/v1/batches/{order.batch_id}/deliveries", 200)
        for delivery in answer.json()["data"]:
            await self.calls.call("POST", f"/v1/deliveries/{delivery['id']}/redeliver", 202)

    async def _delete(self, order: Order) -> None:
        """Once every round was announced."""
        deadline = self.history.now() + EVENT_WITHIN
        while order.has_webhook and len(self.mailbox.of(order.batch_id)) < order.least_rounds:
            if self.history.now() > deadline:
                return
            await asyncio.sleep(0.1)
        answer, lost = await self.calls.call("DELETE", f"/v1/batches/{order.batch_id}", 204, 404)
        if answer.status_code == 404 and not lost:
            raise Violation("it was gone before it was deleted")
        order.is_deleted = True
        await self.calls.call("GET", f"/v1/batches/{order.batch_id}", 404)

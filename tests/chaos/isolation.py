"""The check that no API key sees what belongs to another."""

from collections.abc import Sequence
from typing import Any

from chaos.calls import Calls, Violation
from chaos.orders import Order

PATHS = (
    ("GET", ""),
    ("GET", "/products"),
    ("GET", "/output.csv"),
    ("GET", "/failures.csv"),
    ("GET", "/deliveries"),
    ("POST", "/cancel"),
    ("POST", "/retry"),
    ("DELETE", ""),
)


async def seen_by_stranger(order: Order, stranger: Calls) -> list[str]:
    """Try to read and change the batch of `order` with another API key; return what was not refused."""
    found = []
    for method, path in PATHS:
        try:
            await stranger.call(method, f"/v1/batches/{order.batch_id}{path}", 404)
        except Violation as violation:
            found.append(f"{order.label} with another API key: {violation}")
    return found


async def listed_for(owner: str, calls: Calls, orders: Sequence[Order]) -> list[str]:
    """Return the differences between the batches that an owner's key lists and those of the owner's orders."""
    listed = {batch_id async for batch_id in _batch_ids(calls)}
    kept = {order.batch_id for order in orders if order.batch_id and not order.is_deleted}
    return [] if listed == kept else [f"{owner} lists {sorted(listed - kept)} and misses {sorted(kept - listed)}"]


async def _batch_ids(calls: Calls) -> Any:
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = (await calls.call("GET", "/v1/batches", 200, params=query))[0].json()
        for batch in page["data"]:
            yield batch["id"]
        if page["next"] is None:
            return
        query["after"] = page["next"]

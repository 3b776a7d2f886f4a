"""A small order during a rush of another API key: fairness, counted in fetches and not in seconds."""

import asyncio
from random import Random
from urllib.parse import urlsplit

from chaos.customers import Customers
from chaos.orders import Order
from support.origin_server import OriginServer

BATCHES, IMAGES = 40, 15
"""The orders of the rush."""
SMALL = 5
MOST_BEFORE = BATCHES * IMAGES // 3
"""The fetches of the rush that may begin before the last one of the small order: an equal share would be a dozen."""


async def rush(seed: str, big: Customers, small: Customers, shop: OriginServer) -> tuple[int, list[str]]:
    """Send many orders of one owner, then a small one of another.

    Return the fetches of the rush that began between the acceptance of the small order and the last of its fetches, as
    the shop received them, and the violations.
    """
    rng = Random(f"{seed}/rush")
    orders = [big.catalogue.plain_order(rng, IMAGES) for _ in range(BATCHES)]
    await asyncio.gather(*(big.send(order) for order in orders))
    order = small.catalogue.plain_order(rng, SMALL)
    await small.send(order)
    earlier = len(shop.requests)
    for each in (order, *orders):
        await (small if each is order else big).wait_for_end(each, rng)
    fetches = [request.path for request in shop.requests[earlier:]]
    last = max((number for number, path in enumerate(fetches) if path in _paths(order)), default=0)
    before = len(set(fetches[:last]) & {path for each in orders for path in _paths(each)})
    late = f"{before} of {BATCHES * IMAGES} images of {big.name} were fetched before the {SMALL} of {order.label}"
    return before, [late] if before > MOST_BEFORE else []


def _paths(order: Order) -> set[str]:
    return {urlsplit(url).path for url in order.slots}

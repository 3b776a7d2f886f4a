"""A small order during a rush of another API key: fairness, counted in images and not in seconds."""

import asyncio
from random import Random

from chaos.customers import Customers
from chaos.orders import Order

BATCHES, IMAGES = 40, 15
"""The orders of the rush."""
SMALL = 5
MOST_BEFORE = BATCHES * IMAGES // 3
"""The images of the rush that may end while the small order is open: an equal share would be a few dozens."""


async def rush(seed: str, big: Customers, small: Customers) -> tuple[int, list[str]]:
    """Send many orders of one owner, then a small one of another.

    Return the images of the rush that ended while the small order was open, and the violations.
    """
    rng = Random(f"{seed}/rush")
    orders = [big.catalogue.plain_order(rng, IMAGES) for _ in range(BATCHES)]
    await asyncio.gather(*(big.send(order, rng) for order in orders))
    order = small.catalogue.plain_order(rng, SMALL)
    earlier = await _ended(big, orders)
    await small.send(order, rng)
    await small.wait_for_end(order, rng)
    meanwhile = await _ended(big, orders) - earlier
    for each in orders:
        await big.wait_for_end(each, rng)
    late = f"{meanwhile} of {BATCHES * IMAGES} images of {big.name} ended before the {SMALL} of {order.label}"
    return meanwhile, [late] if meanwhile > MOST_BEFORE else []


async def _ended(customers: Customers, orders: list[Order]) -> int:
    return sum(await asyncio.gather(*(customers.images_ended(order) for order in orders)))

"""A small order during a rush of another API key: fairness, counted in images and not in seconds."""

import asyncio
from random import Random

from chaos.customers import Customers

ENABLED = False
"""Jobs start in the order of their arrival, so the small order waits for lanes of the rush."""
BATCHES, IMAGES = 40, 15
"""The orders of the rush."""
SMALL = 5
MOST_BEFORE = BATCHES * IMAGES // 3
"""How many images of the rush may end before the small order: an equal share would be a few dozens."""


async def rush(seed: str, big: Customers, small: Customers) -> tuple[int, list[str]]:
    """Send many orders of one owner, then a small one of another.

    Return the images of the rush that ended before the small order did, and the violations.
    """
    rng = Random(f"{seed}/rush")
    orders = [big.catalogue.plain_order(rng, IMAGES) for _ in range(BATCHES)]
    await asyncio.gather(*(big.send(order, rng) for order in orders))
    order = small.catalogue.plain_order(rng, SMALL)
    await small.send(order, rng)
    await small.wait_for_end(order, rng)
    before = sum(await asyncio.gather(*(big.images_ended(each) for each in orders)))
    for each in orders:
        await big.wait_for_end(each, rng)
    late = f"{before} of {BATCHES * IMAGES} images of {big.name} ended before the {SMALL} of {order.label}"
    return before, [late] if before > MOST_BEFORE else []

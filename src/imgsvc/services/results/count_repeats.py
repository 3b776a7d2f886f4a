"""Counts the products of each image of a batch."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Batch
from imgsvc.domain.media_keys import content_of
from imgsvc.domain.repeats import Repeats

PAGE = 500
"""Images or products per read."""
T = TypeVar("T", bound=tuple[Any, ...])


async def count_repeats(batch: Batch, *, sessions: Sessions) -> Repeats:
    """Count the products of each image that has succeeded so far, by its first rendition.

    Only some may be counted if the batch is deleted meanwhile.
    """
    repeats, first = Repeats(batch.asset_count), str(batch.specs[0]["name"])
    async for images in _pages(asset_queries.succeeded_renditions, batch.id, sessions):
        for position, renditions in images:
            key = next(entry["key"] for entry in renditions if entry["name"] == first)
            repeats.add_image(position, content_of(key))
    async for products in _pages(queries.slots_page, batch.id, sessions):
        for product in products:
            repeats.add_row(product.serial_number, product.product_name, product.slots)
    repeats.finish()
    return repeats


async def _pages(query: Callable[..., Awaitable[list[T]]], batch_id: str, sessions: Sessions) -> AsyncIterator[list[T]]:
    """Yield the results of `query`, a page at a time; each result begins with its position."""
    after: int | None = -1
    while after is not None:
        async with sessions.read() as session:
            page = await query(session, batch_id, after=after, limit=PAGE)
        yield page
        after = page[-1][0] if page else None

"""Batches, read: their status, their products, their renditions."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.queries import deliveries as delivery_queries
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.queries.batches import BatchProgress, ProductRow
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.status import OPEN_BATCH, AssetStatus
from imgsvc.errors import BatchNotFinished, NotFound

PAGE = 250
"""Products read at a time for a report: short reads, and memory that does not grow with the report. The event loop was
3 ms late at p99 while 100,000 rows were written; with 1,000 at a time 167 ms, and all of it took an eighth less."""
SLOTS = 5_000
"""URLs of the products that are read at a time: a row may have a hundred."""
PAGES_AT_ONCE = 40
"""Looked through in one request for products with a certain status."""


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product with the asset of each of its slots, in URL order."""

    product: ProductRow
    assets: Sequence[SlotAsset]


async def read_batch(batch_id: str, *, api_key_id: str, sessions: Sessions) -> tuple[Batch, Delivery | None]:
    """The batch, and the delivery that announced its end.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id, api_key_id=api_key_id)
        if batch is None:
            raise NotFound(f"There is no batch {batch_id}.")
        return batch, await delivery_queries.get_for_round(session, batch_id, round_number=batch.round)


async def read_progress(batch_id: str, *, api_key_id: str, sessions: Sessions) -> BatchProgress:
    """How far the batch is.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id, api_key_id=api_key_id)
    if batch is None:
        raise NotFound(f"There is no batch {batch_id}.")
    return BatchProgress(*(getattr(batch, name) for name in BatchProgress._fields))


async def list_batches(
    api_key_id: str, *, statuses: Collection[str] = (), after: str | None = None, limit: int, sessions: Sessions
) -> list[tuple[Batch, Delivery | None]]:
    """The batches of a key, the newest first, behind the one with the id `after`; only of `statuses`, if any."""
    async with sessions.read() as session:
        page = await queries.page(session, api_key_id, statuses=statuses, before=after, limit=limit)
        deliveries = await delivery_queries.get_for_batches(session, page) if page else {}
    return [(batch, deliveries.get(batch.id)) for batch in page]


async def list_products_with_status(
    batch_id: str, statuses: Collection[str], *, after: int, limit: int, sessions: Sessions
) -> tuple[list[ProductView], int | None]:
    """Products behind position `after` with an image in one of `statuses`, and where to go on (None: no more).

    Of a large batch a part is looked through at a time, so there may be fewer than `limit` although more follow.
    """
    found: list[ProductView] = []
    for _ in range(PAGES_AT_ONCE):
        views = await list_products(batch_id, after=after, limit=PAGE, sessions=sessions)
        for view in views:
            after = view.product.position
            if any(asset.status in statuses for asset in view.assets):
                found.append(view)
                if len(found) == limit:
                    return found, after
        if not views:
            return found, None
    return found, after


async def list_products(batch_id: str, *, after: int, limit: int, sessions: Sessions) -> list[ProductView]:
    """The products behind position `after` (-1: from the first), each with its assets; fewer where they have many.

    Raises:
        NotFound: the batch was deleted; its products may be gone in part, and what is left must not pass for all.
    """
    async with sessions.read() as session:
        if await queries.get(session, batch_id) is None:
            raise NotFound(f"Batch {batch_id} was deleted.")
        rows = _up_to_slots(await queries.products_page(session, batch_id, after=after, limit=limit))
        assets = await asset_queries.at_positions(session, batch_id, {slot for row in rows for slot in row.slots})
    return [ProductView(row, [assets[slot] for slot in row.slots]) for row in rows]


def _up_to_slots(rows: list[ProductRow]) -> list[ProductRow]:
    """The first rows that together have no more than `SLOTS`; one at least."""
    sums = accumulate(len(row.slots) for row in rows)
    return rows[: max(1, sum(so_far <= SLOTS for so_far in sums))]


async def product_pages(batch_id: str, *, sessions: Sessions) -> AsyncIterator[list[ProductView]]:
    """Every product, a page at a time.

    Raises:
        NotFound: the batch was deleted in the meantime.
    """
    after = -1
    while page := await list_products(batch_id, after=after, limit=PAGE, sessions=sessions):
        yield page
        after = page[-1].product.position


def require_finished(batch: Batch) -> None:
    """Raises BatchNotFinished while assets are open."""
    if batch.status in OPEN_BATCH:
        raise BatchNotFinished(
            f"Batch {batch.id} is still {batch.status}. Wait for its end, or ask for what is there with partial=true."
        )


async def find_rendition(key: str, *, batch_id: str, position: int, sessions: Sessions) -> dict[str, Any]:
    """The rendition stored under `key`, if it stands in a succeeded asset of a batch that is not deleted.

    Raises:
        NotFound: it does not.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id)
        assets = await asset_queries.at_positions(session, batch_id, [position]) if batch else {}
    for asset in assets.values():
        for entry in asset.renditions or ():
            if asset.status == AssetStatus.SUCCEEDED and entry["key"] == key:
                return entry
    raise NotFound("There is no such image.")

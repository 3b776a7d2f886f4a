"""Read batches: status, products, renditions."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.queries import deliveries as delivery_queries
from imgsvc.db.queries import stored_files
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.queries.batches import BatchProgress, ProductRow
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.media_keys import folder_of, parse_batch_key
from imgsvc.domain.status import OPEN_BATCH, AssetStatus
from imgsvc.errors import BatchNotFinished, NotFound

PAGE = 250
"""Products per read for a report: reads stay short, and memory does not grow with the report. The event loop was 3 ms
late at p99 while a report of 100,000 rows was written; with 1,000 per read 167 ms, and the total took an eighth less.
"""
MAX_SLOTS = 5_000
"""URLs of the products in one read; a product may have a hundred."""
MAX_PAGES = 40
"""Pages searched per request for products with a given status."""


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product and the assets of its slots, in URL order."""

    product: ProductRow
    assets: Sequence[SlotAsset]


async def read_batch(batch_id: str, *, api_key_id: str, sessions: Sessions) -> tuple[Batch, Delivery | None]:
    """Return the batch, and the delivery that announced its end.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id, api_key_id=api_key_id)
        if batch is None:
            raise NotFound(f"There is no batch {batch_id}.")
        return batch, await delivery_queries.get_for_round(session, batch_id, round_number=batch.round)


async def read_progress(batch_id: str, *, api_key_id: str, sessions: Sessions) -> BatchProgress:
    """Return the progress of the batch.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id, api_key_id=api_key_id)
    if batch is None:
        raise NotFound(f"There is no batch {batch_id}.")
    return BatchProgress(*(getattr(batch, name) for name in BatchProgress._fields))


async def list_batches(
    api_key_id: str,
    *,
    statuses: Collection[str] = (),
    catalogue: str | None = None,
    after: str | None = None,
    limit: int,
    sessions: Sessions,
) -> list[tuple[Batch, Delivery | None]]:
    """Return a page of a key's batches, newest first, after the one with the id `after`.

    Only those with one of `statuses`, or of `catalogue`, if given.
    """
    async with sessions.read() as session:
        page = await queries.page(
            session, api_key_id, statuses=statuses, catalogue=catalogue, before=after, limit=limit
        )
        deliveries = await delivery_queries.get_for_batches(session, page) if page else {}
    return [(batch, deliveries.get(batch.id)) for batch in page]


async def list_products_with_status(
    batch_id: str, statuses: Collection[str], *, after: int, limit: int, sessions: Sessions
) -> tuple[list[ProductView], int | None]:
    """Return products after position `after` with an image in one of `statuses`, and the next `after` (None: no more).

    Only part of a large batch is searched, so there may be fewer than `limit` products although more follow.
    """
    found: list[ProductView] = []
    for _ in range(MAX_PAGES):
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


async def list_products(
    batch_id: str, *, after: int, limit: int, sessions: Sessions, marked: bool = False
) -> list[ProductView]:
    """Return the products after position `after` (-1: from the first) with their assets; fewer if they have many URLs.

    `marked`: only rows marked as new or changed since the version before.

    Raises:
        NotFound: the batch was deleted. Some of its rows may be gone, and the rest must not look like a complete list.
    """
    async with sessions.read() as session:
        if await queries.get(session, batch_id) is None:
            raise NotFound(f"Batch {batch_id} was deleted.")
        rows = _limit_slots(await queries.products_page(session, batch_id, after=after, limit=limit, marked=marked))
        assets = await asset_queries.at_positions(session, batch_id, {slot for row in rows for slot in row.slots})
    return [ProductView(row, [assets[slot] for slot in row.slots]) for row in rows]


def _limit_slots(rows: list[ProductRow]) -> list[ProductRow]:
    """Return the first rows that together have at most `MAX_SLOTS` slots, and at least one row."""
    totals = accumulate(len(row.slots) for row in rows)
    return rows[: max(1, sum(total <= MAX_SLOTS for total in totals))]


async def product_pages(batch_id: str, *, sessions: Sessions, marked: bool = False) -> AsyncIterator[list[ProductView]]:
    """Yield all products, or those `marked` as new or changed, a page at a time.

    Raises:
        NotFound: the batch has been deleted.
    """
    after = -1
    while page := await list_products(batch_id, after=after, limit=PAGE, sessions=sessions, marked=marked):
        yield page
        after = page[-1].product.position


def file_format(batch: Batch) -> FileFormat:
    """Return the format of the batch's file; of one that an earlier version stored, what is known."""
    return FileFormat.model_validate({"url_columns": (batch.url_column,), **(batch.file_format or {})})


def require_finished(batch: Batch) -> None:
    """Raise BatchNotFinished while the batch has open assets."""
    if batch.status in OPEN_BATCH:
        raise BatchNotFinished(
            f"Batch {batch.id} is still {batch.status}. Wait for its end, or get the results so far with partial=true."
        )


async def find_rendition(key: str, *, sessions: Sessions) -> dict[str, Any]:
    """Return the rendition stored under `key`, if a succeeded asset of an existing batch has it.

    Raises:
        NotFound: no asset has it.
    """
    async with sessions.read() as session:
        for batch_id, position in await _places(session, key):
            found = await asset_queries.at_positions(session, batch_id, [position])
            for asset in found.values():
                for entry in asset.renditions or ():
                    if asset.status == AssetStatus.SUCCEEDED and entry["key"] == key:
                        return entry
    raise NotFound("There is no such image.")


async def _places(session: AsyncSession, key: str) -> Sequence[tuple[str, int]]:
    """Return the batch ids and positions of assets that may have a rendition `key`, without deleted batches."""
    if folder_of(key):
        named = await stored_files.find(session, [key])
        return [(each.batch_id, each.position) for each in named.get(key, ())]
    parsed = parse_batch_key(key)
    return [parsed] if parsed and await queries.get(session, parsed[0]) else []

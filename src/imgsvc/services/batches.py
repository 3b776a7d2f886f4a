"""Batches: take one in, and read one back."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.queries import deliveries as delivery_queries
from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.queries.batches import ProductRow
from imgsvc.db.tables import Asset, Batch, Delivery, Product
from imgsvc.domain.ids import new_id, slug
from imgsvc.domain.manifest import Columns, Manifest, ManifestLimits, OnInvalid, read_manifest
from imgsvc.domain.specs import Spec
from imgsvc.domain.status import OPEN_BATCH, AssetStatus, BatchStatus
from imgsvc.errors import BatchNotFinished, InvalidUrl, NotFound, QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.deliveries import wake
from imgsvc.services.finishing import finish
from imgsvc.services.links import Links
from imgsvc.services.ports import JobQueue

log = get_logger(__name__)

PAGE = 1_000
"""Products read at a time for a report: short reads, and memory that does not grow with the report."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, its fields validated; `data` is the CSV as it came."""

    data: bytes
    filename: str | None = None
    specs: tuple[Spec, ...] = (Spec(),)
    columns: Columns | None = None
    on_invalid: OnInvalid = "reject"
    webhook_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubmitRules:
    """What the settings say about uploads."""

    limits: ManifestLimits
    retention: timedelta


async def submit(
    upload: Upload,
    *,
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    links: Links,
    clock: Clock,
    rules: SubmitRules,
) -> Batch:
    """Store the batch with its products and assets in one transaction, then wake its lanes.

    When Redis is away the batch is accepted all the same; the sweep wakes its lanes later.

    Raises:
        InvalidManifest, LimitExceeded: nothing is stored.
        DatabaseUnavailable: nothing is stored.
    """
    manifest = await asyncio.to_thread(
        read_manifest, upload.data, columns=upload.columns, on_invalid=upload.on_invalid, limits=rules.limits
    )
    digest = await asyncio.to_thread(lambda: hashlib.sha256(upload.data).hexdigest())
    now = clock()
    batch = _batch(upload, manifest, digest=digest, api_key_id=api_key_id, now=now, retention=rules.retention)
    async with sessions.write() as session:
        delivery_id = await _store(session, batch, manifest, links=links, now=now)
        stored = await queries.get(session, batch.id) or batch
    log.info("batch_accepted", batch_id=batch.id, products=batch.product_count, assets=batch.asset_count)
    if delivery_id:
        await wake(delivery_id, attempts=0, queue=queue)
    elif stored.status in OPEN_BATCH:
        await _wake_lanes(batch.id, queue)
    return stored


async def _store(session: AsyncSession, batch: Batch, manifest: Manifest, *, links: Links, now: datetime) -> str | None:
    """Insert everything; a batch without a URL to fetch is finished at once, and its delivery's id returned."""
    session.add(batch)
    await session.flush()
    await queries.insert_rows(session, Product, _product_rows(batch.id, manifest))
    await queries.insert_rows(session, Asset, _asset_rows(batch.id, manifest, now))
    if len(manifest.invalid) < len(manifest.assets):
        return None
    counters = await queries.lock(session, batch.id)
    return await finish(session, batch.id, counters, links=links, now=now) if counters else None


async def _wake_lanes(batch_id: str, queue: JobQueue) -> None:
    try:
        await queue.wake_lanes(batch_id)
    except QueueUnavailable as error:
        log.warning("wake_up_lost", batch_id=batch_id, error=str(error))


def _batch(
    upload: Upload, manifest: Manifest, *, digest: str, api_key_id: str, now: datetime, retention: timedelta
) -> Batch:
    invalid = len(manifest.invalid)
    return Batch(
        id=new_id("bat", now),
        api_key_id=api_key_id,
        status=BatchStatus.PENDING,
        specs=[spec.model_dump(mode="json") for spec in upload.specs],
        webhook_url=upload.webhook_url,
        filename=upload.filename,
        manifest_sha256=digest,
        header=list(manifest.header),
        url_column=manifest.url_column,
        encoding=manifest.encoding,
        delimiter=manifest.delimiter,
        warnings=[asdict(warning) for warning in manifest.warnings],
        warnings_total=manifest.warnings_total,
        extra=dict(upload.metadata),
        product_count=len(manifest.products),
        url_count=manifest.url_count,
        asset_count=len(manifest.assets),
        failed=invalid,
        errors={InvalidUrl.code: invalid} if invalid else {},
        created_at=now,
        expires_at=now + retention,
    )


def _product_rows(batch_id: str, manifest: Manifest) -> Iterator[dict[str, Any]]:
    for position, product in enumerate(manifest.products):
        yield {
            "batch_id": batch_id,
            "position": position,
            "serial_number": product.serial_number,
            "product_name": product.product_name,
            "cells": product.cells,
            "slots": product.slots,
        }


def _asset_rows(batch_id: str, manifest: Manifest, now: datetime) -> Iterator[dict[str, Any]]:
    """Rows in the order of their positions: the products are walked in order, and positions count first appearances."""
    position = 0
    for product in manifest.products:
        name = slug(product.product_name) if product.slots and max(product.slots) >= position else ""
        for slot in product.slots:
            if slot == position:
                yield _asset_row(batch_id, position, manifest, slug=name, now=now)
                position += 1


def _asset_row(batch_id: str, position: int, manifest: Manifest, *, slug: str, now: datetime) -> dict[str, Any]:
    why_invalid = manifest.invalid.get(position)
    return {
        "batch_id": batch_id,
        "position": position,
        "origin_url": manifest.assets[position],
        "slug": slug,
        "status": AssetStatus.FAILED if why_invalid else AssetStatus.PENDING,
        "due_at": now,
        "updated_at": now,
        "error_code": InvalidUrl.code if why_invalid else None,
        "error_detail": why_invalid,
    }


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product with the asset of each of its slots, in URL order."""

    product: ProductRow
    assets: Sequence[SlotAsset]


async def read(batch_id: str, *, api_key_id: str, sessions: Sessions) -> tuple[Batch, Delivery | None]:
    """The batch, and the delivery that announced its end.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
    """
    async with sessions.read() as session:
        batch = await queries.get(session, batch_id, api_key_id=api_key_id)
        if batch is None:
            raise NotFound(f"There is no batch {batch_id}.")
        return batch, await delivery_queries.of_batch(session, batch_id, round_number=batch.round)


async def products(batch_id: str, *, after: int, limit: int, sessions: Sessions) -> list[ProductView]:
    """The products behind position `after` (-1: from the first), each with its assets."""
    async with sessions.read() as session:
        rows = await queries.products_page(session, batch_id, after=after, limit=limit)
        assets = await asset_queries.at_positions(session, batch_id, {slot for row in rows for slot in row.slots})
    return [ProductView(row, [assets[slot] for slot in row.slots]) for row in rows]


async def all_products(batch_id: str, *, sessions: Sessions) -> AsyncIterator[list[ProductView]]:
    """Every product, a page at a time."""
    after = -1
    while page := await products(batch_id, after=after, limit=PAGE, sessions=sessions):
        yield page
        after = page[-1].product.position


def require_finished(batch: Batch) -> None:
    """Raises BatchNotFinished while assets are open."""
    if batch.status in OPEN_BATCH:
        raise BatchNotFinished(
            f"Batch {batch.id} is still {batch.status}. Wait for its end, or ask for what is there with partial=true."
        )


async def rendition(key: str, *, batch_id: str, position: int, sessions: Sessions) -> dict[str, Any]:
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

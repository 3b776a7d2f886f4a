"""Take an upload in: read the CSV, store the batch in one transaction, wake its lanes."""

import asyncio
import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.domain.ids import new_id, slug
from imgsvc.domain.manifest import Columns, Manifest, ManifestLimits, OnInvalid, read_manifest
from imgsvc.domain.specs import Spec
from imgsvc.domain.status import AssetStatus, BatchStatus
from imgsvc.errors import InvalidUrl, QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.finishing import Ended, finish, tell
from imgsvc.services.links import Links
from imgsvc.services.ports import JobQueue

log = get_logger(__name__)


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


async def submit(
    upload: Upload,
    *,
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    links: Links,
    clock: Clock,
    limits: ManifestLimits,
) -> Batch:
    """Store the batch with its products and assets in one transaction, then wake its lanes.

    When Redis is away the batch is accepted all the same; the sweep wakes its lanes later.

    Raises:
        InvalidManifest, LimitExceeded: nothing is stored.
        DatabaseUnavailable: nothing is stored.
    """
    with _no_collection():
        manifest, digest = await asyncio.to_thread(_read, upload, limits)
        now = clock()
        batch = _batch(upload, manifest, digest=digest, api_key_id=api_key_id, now=now)
        async with sessions.write() as session:
            ended = await _store(session, batch, manifest, links=links, now=now)
            stored = await queries.get(session, batch.id) or batch
    log.info(
        "batch_accepted",
        batch_id=batch.id,
        filename=batch.filename,
        products=batch.product_count,
        assets=batch.asset_count,
        warnings=batch.warnings_total,
    )
    await (tell(ended, queue=queue) if ended else _wake_lanes(batch.id, queue))
    return stored


def _read(upload: Upload, limits: ManifestLimits) -> tuple[Manifest, str]:
    """The manifest, and the SHA-256 of the file; in a thread."""
    manifest = read_manifest(upload.data, columns=upload.columns, on_invalid=upload.on_invalid, limits=limits)
    return manifest, hashlib.sha256(upload.data).hexdigest()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector away while a manifest is in memory.

    All of it is in use, so there is nothing to find; but each look at 200,000 rows stops every thread, the event loop's
    too, for 110 to 140 ms (measured). Of two uploads at a time the first to end lets it in again, which costs a pause.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _store(
    session: AsyncSession, batch: Batch, manifest: Manifest, *, links: Links, now: datetime
) -> Ended | None:
    """Insert everything; a batch without a URL to fetch ends at once."""
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


def _batch(upload: Upload, manifest: Manifest, *, digest: str, api_key_id: str, now: datetime) -> Batch:
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

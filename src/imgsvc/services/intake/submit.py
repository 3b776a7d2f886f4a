"""Take an upload in: read the products, store the batch in one transaction, wake its lanes."""

import asyncio
import gc
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Asset, Batch, Delivery, Product
from imgsvc.domain.manifest.read_csv import Manifest, ManifestLimits, read_manifest
from imgsvc.domain.manifest.read_json import read_products
from imgsvc.errors import DatabaseUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.batches.finish import EndedBatch, Retention, announce, finish_batch
from imgsvc.services.clock import Clock
from imgsvc.services.intake import idempotency
from imgsvc.services.intake.quotas import KeyLimits, check_quota
from imgsvc.services.intake.upload import Upload, asset_rows, batch_row, product_rows
from imgsvc.services.ports import JobQueue
from imgsvc.services.wakeups import wake_lanes

log = get_logger(__name__)

HOSTS = 20


@dataclass(frozen=True, slots=True)
class Validation:
    """What an upload has in it; `hosts` are the 20 with the most distinct URLs, of `hosts_total`."""

    manifest: Manifest
    hosts: list[tuple[str, int]]
    hosts_total: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch of an upload; `replayed` when the same upload had made it before, which may have ended since."""

    batch: Batch
    delivery: Delivery | None = None
    replayed: bool = False


async def submit(
    upload: Upload,
    *,
    api_key_id: str,
    sessions: Sessions,
    queue: JobQueue,
    retention: Retention,
    clock: Clock,
    limits: ManifestLimits,
    quota: KeyLimits | None = None,
) -> Submitted:
    """Store the batch with its products and assets in one transaction, then wake its lanes.

    When Redis is away the batch is accepted all the same; the sweep wakes its lanes later. An upload with an
    idempotency key makes one batch, however often and however concurrently it comes.

    Raises:
        InvalidManifest, LimitExceeded: nothing is stored.
        TooMany: the key has more open than `quota` allows.
        IdempotencyKeyReused: nothing is stored.
        DatabaseUnavailable: nothing is stored, unless it went away between the commit and its answer. Repeating the
            upload with its idempotency key is right in either case.
    """
    name = await _named(upload, api_key_id)
    if name and (earlier := await idempotency.find_replayed(name, sessions=sessions, clock=clock)):
        batch, delivery = earlier
        return Submitted(batch, delivery, replayed=True)
    with _no_collection():
        manifest, digest = await asyncio.to_thread(_read_and_sum, upload, limits)
        now = clock()
        batch = batch_row(upload, manifest, digest=digest, api_key_id=api_key_id, now=now)
        batch.expires_at = retention.expiry(now)
        async with sessions.write() as session:
            if quota:  # others may have come in while this one was on its way
                await check_quota(session, api_key_id, limits=quota)
            repeated = name is not None and not await idempotency.reserve(session, name, batch.id, now)
            ended = None if repeated else await _store(session, batch, manifest, retention=retention, now=now)
            stored = await queries.get(session, batch.id) or batch
    if name and repeated:  # by one that came a moment earlier: now it is there, or deleted already
        if earlier := await idempotency.find_replayed(name, sessions=sessions, clock=clock):
            batch, delivery = earlier
            return Submitted(batch, delivery, replayed=True)
        raise DatabaseUnavailable(f"the batch of the idempotency key {name.key!r} came and went")
    log.info(
        "batch_accepted",
        batch_id=batch.id,
        filename=batch.filename,
        products=batch.product_count,
        assets=batch.asset_count,
        warnings=batch.warnings_total,
    )
    await (announce(ended, queue=queue) if ended else wake_lanes(batch.id, queue=queue))
    return Submitted(stored)


async def _named(upload: Upload, api_key_id: str) -> idempotency.UploadKey | None:
    if upload.idempotency_key is None:
        return None
    return idempotency.UploadKey(api_key_id, upload.idempotency_key, await asyncio.to_thread(upload.fingerprint))


async def validate(upload: Upload, *, limits: ManifestLimits) -> Validation:
    """What is in the upload; nothing is stored.

    Raises:
        InvalidManifest, LimitExceeded: as `submit` would.
    """
    with _no_collection():
        return await asyncio.to_thread(lambda: examine(_read(upload, limits)))


def _read_and_sum(upload: Upload, limits: ManifestLimits) -> tuple[Manifest, str]:
    """The manifest, and the SHA-256 of the file; in a thread."""
    return _read(upload, limits), hashlib.sha256(upload.data).hexdigest()


def _read(upload: Upload, limits: ManifestLimits) -> Manifest:
    if upload.products is not None:
        return read_products(upload.products, on_invalid=upload.on_invalid, limits=limits)
    return read_manifest(upload.data, columns=upload.columns, on_invalid=upload.on_invalid, limits=limits)


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
    session: AsyncSession, batch: Batch, manifest: Manifest, *, retention: Retention, now: datetime
) -> EndedBatch | None:
    """Insert everything; a batch without a URL to fetch ends at once."""
    session.add(batch)
    await session.flush()
    await queries.insert_rows(session, Product, product_rows(batch.id, manifest))
    await queries.insert_rows(session, Asset, asset_rows(batch.id, manifest, now))
    if len(manifest.invalid) < len(manifest.assets):
        return None
    counters = await queries.lock(session, batch.id)
    return await finish_batch(session, batch.id, counters, retention=retention, now=now) if counters else None


def examine(manifest: Manifest) -> Validation:
    """CPU-bound: a second for 250,000 URLs."""
    hosts = Counter(_hosts(manifest))
    return Validation(manifest, hosts.most_common(HOSTS), len(hosts))


def _hosts(manifest: Manifest) -> Iterator[str]:
    for position, url in enumerate(manifest.assets):
        if position not in manifest.invalid:
            yield urlsplit(url).hostname or ""

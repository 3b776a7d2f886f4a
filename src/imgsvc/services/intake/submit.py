"""Accept an upload: read the products, store the batch, wake its first lane."""

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
from imgsvc.db.queries import counters as counter_queries
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.manifest.read_csv import Manifest, ManifestLimits, read_manifest
from imgsvc.domain.manifest.read_json import read_products
from imgsvc.domain.names import ImageNames
from imgsvc.errors import DatabaseUnavailable, TooMany
from imgsvc.logs import get_logger
from imgsvc.services.batches.finish import EndedBatch, Retention, ToCompare, announce, end_images
from imgsvc.services.clock import Clock
from imgsvc.services.intake import idempotency
from imgsvc.services.intake.quotas import KeyLimits, check_quota
from imgsvc.services.intake.store import ROWS_AT_ONCE, discard, show, store, store_hidden
from imgsvc.services.intake.upload import Upload, batch_row
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.wakeups import wake_lane

log = get_logger(__name__)

MAX_HOSTS = 20


@dataclass(frozen=True, slots=True)
class Validation:
    """The contents of an upload; `hosts` are the 20 with the most distinct URLs, out of `hosts_total`."""

    manifest: Manifest
    hosts: list[tuple[str, int]]
    hosts_total: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch of an upload; `replayed`: an earlier request created it, and it may have ended since."""

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
    """Store the batch with its products and assets, then wake its first lane.

    The batch is accepted even while Redis is unavailable; the sweep wakes it later. An upload with an
    idempotency key creates one batch, even if it is repeated many times or concurrently.

    Raises:
        InvalidManifest, LimitExceeded: nothing is stored.
        TooMany: the key has more open work than `quota` allows.
        IdempotencyKeyReused: nothing is stored.
        DatabaseUnavailable: nothing is stored, unless the connection broke between the commit and its answer. In
            either case it is safe to repeat the upload with its idempotency key.
    """
    key = await upload_key(upload, api_key_id)
    if key and (replayed := await idempotency.find_replayed(key, sessions=sessions, clock=clock)):
        batch, delivery = replayed
        return Submitted(batch, delivery, replayed=True)
    with _garbage_collection_disabled():
        manifest, digest = await asyncio.to_thread(_read_and_hash, upload, limits)
        now = clock()
        batch = batch_row(upload, manifest, digest=digest, api_key_id=api_key_id, now=now)
        batch.expires_at = retention.expiry(now)
        is_large = len(manifest.products) + len(manifest.assets) > ROWS_AT_ONCE
        if is_large:
            async with sessions.read() as session:
                await check_quota(session, api_key_id, limits=quota)
            await store_hidden(batch, manifest, sessions=sessions, now=now)
        try:
            async with sessions.write() as session:
                await check_quota(session, api_key_id, limits=quota)  # others may have been stored meanwhile
                is_repeat = key is not None and not await idempotency.reserve(session, key, batch.id, now)
                ended = None
                if not is_repeat:
                    await (show(session, batch, clock=clock) if is_large else store(session, batch, manifest, now=now))
                    ended = await _end_if_nothing_to_fetch(session, batch.id, manifest, retention=retention, now=now)
                if ended or is_large:  # the row has changed since it was inserted
                    batch = await queries.get(session, batch.id) or batch
        except TooMany:
            if is_large:
                await discard(batch.id, sessions=sessions, now=now)
            raise
    if is_large and is_repeat:
        await discard(batch.id, sessions=sessions, now=now)
    if key and is_repeat:  # a concurrent upload was first: its batch is committed, or already deleted
        if replayed := await idempotency.find_replayed(key, sessions=sessions, clock=clock):
            batch, delivery = replayed
            return Submitted(batch, delivery, replayed=True)
        raise DatabaseUnavailable(f"the batch of the idempotency key {key.key!r} was created and deleted again")
    log.info(
        "batch_accepted",
        batch_id=batch.id,
        filename=batch.filename,
        products=batch.product_count,
        assets=batch.asset_count,
        warnings=batch.warnings_total,
    )
    await (announce(ended, queue=queue) if ended else wake_lane(batch.id, api_key_id, queue=queue))
    return Submitted(batch)


async def upload_key(upload: Upload, api_key_id: str) -> idempotency.UploadKey | None:
    """Return the client's name for the upload, if it has one."""
    if upload.idempotency_key is None:
        return None
    return idempotency.UploadKey(api_key_id, upload.idempotency_key, await asyncio.to_thread(upload.fingerprint))


async def validate(upload: Upload, *, limits: ManifestLimits) -> Validation:
    """Report the contents of the upload without storing anything.

    Raises:
        InvalidManifest, LimitExceeded: `submit` would refuse the upload.
    """
    with _garbage_collection_disabled():
        return await asyncio.to_thread(lambda: examine(_read(upload, limits)))


def _read_and_hash(upload: Upload, limits: ManifestLimits) -> tuple[Manifest, str]:
    """Return the manifest and the SHA-256 of the file; CPU-bound, call it from a thread."""
    return _read(upload, limits), upload.known.sha256 if upload.known else hashlib.sha256(upload.data).hexdigest()


def _read(upload: Upload, limits: ManifestLimits) -> Manifest:
    if upload.known:
        manifest = upload.known.manifest
    elif upload.source_url and upload.source is None:
        raise DatabaseUnavailable("the batch of the idempotency key was deleted meanwhile; nothing was fetched")
    elif upload.products is not None:
        manifest = read_products(upload.products, on_invalid=upload.on_invalid, limits=limits)
    else:
        manifest = read_manifest(
            upload.data if upload.table is None else upload.table,
            name=upload.format,
            columns=upload.columns,
            on_invalid=upload.on_invalid,
            limits=limits,
            keeps_text=upload.output == "replace",
        )
    ImageNames(upload.names, manifest)  # refuses a template with other columns
    return manifest


@contextmanager
def _garbage_collection_disabled() -> Iterator[None]:
    """Disable the garbage collector while a manifest is in memory.

    All of the manifest is in use, so there is nothing to collect; but each scan of 200,000 rows stops every thread,
    including the event loop, for 110 to 140 ms (measured). When two uploads overlap, the first to end enables it
    again, which costs one such pause.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _end_if_nothing_to_fetch(
    session: AsyncSession, batch_id: str, manifest: Manifest, *, retention: Retention, now: datetime
) -> EndedBatch | ToCompare | None:
    """End a batch without a valid URL."""
    if len(manifest.invalid) < len(manifest.assets):
        return None
    counters = await counter_queries.lock(session, batch_id)
    return await end_images(session, batch_id, counters, retention=retention, now=now) if counters else None


def examine(manifest: Manifest) -> Validation:
    """Count the hosts of a manifest; CPU-bound, 1 s for 250,000 URLs."""
    valid = (url for position, url in enumerate(manifest.assets) if position not in manifest.invalid)
    hosts = Counter(urlsplit(url).hostname or "" for url in valid)
    return Validation(manifest, hosts.most_common(MAX_HOSTS), len(hosts))

"""Delete batches, and remove files from the storage that no row refers to."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, counters
from imgsvc.db.queries import deletions as queries
from imgsvc.db.tables import Asset, Product
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchNotFinished, DatabaseUnavailable, NotFound, StorageError
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.ports import Inventory, Stored
from imgsvc.services.wakeups import wake_clean_up

log = get_logger(__name__)

REMOVAL_TIMEOUT = 5.0
"""Seconds that a delete request waits for the removal before a job takes over."""


async def delete_batch(
    batch_id: str,
    *,
    api_key_id: str,
    sessions: Sessions,
    inventory: Inventory,
    queue: JobQueue,
    clock: Clock,
    clean_up_after: timedelta,
    removal_timeout: float = REMOVAL_TIMEOUT,
) -> None:
    """Delete a finished batch: it becomes invisible at once, then its renditions and rows are removed.

    The caller waits up to `removal_timeout` seconds for the removal; a job removes the rest.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchNotFinished: it is still open.
    """
    async with sessions.write() as session:
        batch = await counters.lock(session, batch_id, api_key_id=api_key_id)
        if batch is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if batch.status in OPEN_BATCH:
            raise BatchNotFinished(f"Batch {batch_id} is still {batch.status}; cancel it first.")
        await queries.soft_delete(session, [batch_id], clock())
    log.info("batch_deleted", batch_id=batch_id)
    try:
        async with asyncio.timeout(removal_timeout):
            await clean_up_batch(
                batch_id, sessions=sessions, inventory=inventory, clock=clock, clean_up_after=clean_up_after
            )
    except (TimeoutError, StorageError, DatabaseUnavailable) as error:
        log.warning("removal_deferred", batch_id=batch_id, error=str(error) or type(error).__name__)
        await wake_clean_up(batch_id, queue=queue)


async def clean_up_batch(
    batch_id: str, *, sessions: Sessions, inventory: Inventory, clock: Clock, clean_up_after: timedelta
) -> None:
    """Remove the files and rows of a deleted batch, or the files of a finished batch that no asset refers to.

    Workers never delete: one that was frozen could remove the file that its successor has just stored. The keys
    removed here are never used again: no claim of an ended round is valid, and renditions of later rounds have other
    keys (`domain.ids.digest`). Idempotent, and safe to run concurrently.

    Raises:
        StorageError, DatabaseUnavailable: the sweep wakes another clean-up.
    """
    async with sessions.read() as session:
        batch = await queries.get_for_clean_up(session, batch_id)
    now = clock()
    if batch is None or batch.tidy_at is None or batch.tidy_at > now:
        return
    if batch.deleted_at is None:
        # Young files are kept: they may belong to a new round that began after the batch was read.
        is_clean = await _remove_unreferenced(
            batch_id, until=now - clean_up_after / 2, sessions=sessions, inventory=inventory
        )
        next_at = None if is_clean else now + clean_up_after
    else:
        await _remove_all(batch_id, sessions=sessions, inventory=inventory)
        # A worker may have been storing an image when the batch was deleted, so a last clean-up follows.
        next_at = batch.deleted_at + clean_up_after
    async with sessions.write() as session:
        if batch.deleted_at and next_at and next_at <= now:
            await queries.remove_batch(session, batch_id)
        else:
            await queries.schedule_clean_up(session, batch_id, seen=batch.tidy_at, next_at=next_at)


async def _remove_all(batch_id: str, *, sessions: Sessions, inventory: Inventory) -> None:
    async for page in inventory.list(_folder(batch_id)):
        await inventory.remove([stored.key for stored in page])
    for table in (Product, Asset):
        removed = 1
        while removed:
            async with sessions.write() as session:
                removed = await queries.remove_rows(session, table, batch_id)
    async with sessions.write() as session:
        await queries.remove_deliveries(session, batch_id)


async def _remove_unreferenced(batch_id: str, *, until: datetime, sessions: Sessions, inventory: Inventory) -> bool:
    """Remove the files that dead runs stored before `until`; return False if younger ones are left."""
    young = 0
    async for page in inventory.list(_folder(batch_id)):
        referenced = await _referenced(batch_id, page, sessions=sessions)
        unreferenced = [stored for stored in page if stored.key not in referenced]
        old = [stored.key for stored in unreferenced if stored.modified < until]
        young += len(unreferenced) - len(old)
        if old:
            log.info("unreferenced_files_removed", batch_id=batch_id, files=len(old))
            await inventory.remove(old)
    return not young


async def _referenced(batch_id: str, page: Sequence[Stored], *, sessions: Sessions) -> set[str]:
    parsed = (parse_rendition_key(stored.key) for stored in page)
    async with sessions.read() as session:
        return await assets.rendition_keys(session, batch_id, {each[1] for each in parsed if each})


def _folder(batch_id: str) -> str:
    return f"{batch_id}/"

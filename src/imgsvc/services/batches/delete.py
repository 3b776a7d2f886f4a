"""Delete batches, and keep the storage to what the rows name."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, batches
from imgsvc.db.queries import deletions as queries
from imgsvc.db.tables import Asset, Product
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchNotFinished, DatabaseUnavailable, NotFound, StorageError
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.ports import Inventory, JobQueue, Stored
from imgsvc.services.wakeups import wake_clean_up

log = get_logger(__name__)

AT_ONCE = 5.0


async def delete_batch(
    batch_id: str,
    *,
    api_key_id: str,
    sessions: Sessions,
    inventory: Inventory,
    queue: JobQueue,
    clock: Clock,
    clean_up_after: timedelta,
    patience: float = AT_ONCE,
) -> None:
    """Delete a finished batch for everybody who asks, then remove its renditions and its rows.

    The removal may take `patience` (seconds) while the caller waits; what is left then is a job's.

    Raises:
        NotFound: no such batch, or it belongs to another API key.
        BatchNotFinished: it still runs.
    """
    async with sessions.write() as session:
        counters = await batches.lock(session, batch_id, api_key_id=api_key_id)
        if counters is None:
            raise NotFound(f"There is no batch {batch_id}.")
        if counters.status in OPEN_BATCH:
            raise BatchNotFinished(f"Batch {batch_id} is still {counters.status}; cancel it first.")
        await queries.soft_delete(session, [batch_id], clock())
    log.info("batch_deleted", batch_id=batch_id)
    try:
        async with asyncio.timeout(patience):
            await clean_up_batch(
                batch_id, sessions=sessions, inventory=inventory, clock=clock, clean_up_after=clean_up_after
            )
    except (TimeoutError, StorageError, DatabaseUnavailable) as error:
        log.warning("removal_deferred", batch_id=batch_id, error=str(error) or type(error).__name__)
        await wake_clean_up(batch_id, queue=queue)


async def clean_up_batch(
    batch_id: str, *, sessions: Sessions, inventory: Inventory, clock: Clock, clean_up_after: timedelta
) -> None:
    """Remove what a deleted batch left behind, or what lies in the storage of a finished one without being named.

    Workers never delete: one that was frozen could take away what its successor has just stored. What is removed here
    cannot come into use any more: no claim of an ended round is valid, and renditions of later rounds have other keys
    (services/processing/process_asset.py). May be repeated at any time, and anywhere at the same time.

    Raises:
        StorageError, DatabaseUnavailable: the sweep has it done again.
    """
    async with sessions.read() as session:
        batch = await queries.get_for_clean_up(session, batch_id)
    now = clock()
    if batch is None or batch.tidy_at is None or batch.tidy_at > now:
        return
    if batch.deleted_at is None:
        # Nothing that is young: it may be a new round's, begun since the batch was read.
        is_tidy = await _remove_unnamed(
            batch_id, until=now - clean_up_after / 2, sessions=sessions, inventory=inventory
        )
        next_at = None if is_tidy else now + clean_up_after
    else:
        await _remove_all(batch_id, sessions=sessions, inventory=inventory)
        # A worker that was storing an image in the moment of the deletion may be done only now: a last look later.
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


async def _remove_unnamed(batch_id: str, *, until: datetime, sessions: Sessions, inventory: Inventory) -> bool:
    """Remove what dead runs stored before `until`; False when there is more that was stored later."""
    young = 0
    async for page in inventory.list(_folder(batch_id)):
        named = await _named(batch_id, page, sessions=sessions)
        unnamed = [stored for stored in page if stored.key not in named]
        old = [stored.key for stored in unnamed if stored.modified < until]
        young += len(unnamed) - len(old)
        if old:
            log.info("unreferenced_files_removed", batch_id=batch_id, files=len(old))
            await inventory.remove(old)
    return not young


async def _named(batch_id: str, page: Sequence[Stored], *, sessions: Sessions) -> set[str]:
    places = (parse_rendition_key(stored.key) for stored in page)
    async with sessions.read() as session:
        return await assets.rendition_keys(session, batch_id, {place[1] for place in places if place})


def _folder(batch_id: str) -> str:
    return f"{batch_id}/"

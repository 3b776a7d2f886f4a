"""Delete batches, and remove files from the storage that no row refers to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import api_keys, assets, counters, stored_files
from imgsvc.db.queries import deletions as queries
from imgsvc.db.tables import Batch
from imgsvc.domain.media_keys import folder_of, parse_batch_key
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import BatchNotFinished, DatabaseUnavailable, NotFound, StorageError
from imgsvc.logs import get_logger
from imgsvc.services.batches.compare_files import remove_left_files
from imgsvc.services.batches.remove_files import Removal
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
    """Remove the rows of a deleted batch and the files that no other batch names, or what its dead runs have left.

    Workers never delete: one that was frozen could remove the file that its successor has just stored. Idempotent, and
    safe to run concurrently.

    Raises:
        StorageError, DatabaseUnavailable: the sweep wakes another clean-up.
    """
    async with sessions.read() as session:
        batch = await queries.get_for_clean_up(session, batch_id)
    now = clock()
    if batch is None or batch.tidy_at is None or batch.tidy_at > now:
        return
    tools = _Tools(sessions, inventory, clock)
    if batch.deleted_at is None:
        # Young files are kept: they may belong to a new round that began after the batch was read.
        is_clean = await _remove_left_files(batch, until=now - clean_up_after / 2, tools=tools)
        next_at = None if is_clean else now + clean_up_after
    else:
        await _remove_all(batch, tools=tools)
        # A worker may have been storing an image when the batch was deleted, so a last clean-up follows.
        next_at = batch.deleted_at + clean_up_after
        if next_at <= now and _was_cut_short(batch, clean_up_after):
            await _compare_folder(batch, until=now - clean_up_after / 2, tools=tools)
    async with sessions.write() as session:
        if batch.deleted_at and next_at and next_at <= now:
            await queries.remove_batch(session, batch_id)
        else:
            await queries.schedule_clean_up(session, batch_id, seen=batch.tidy_at, next_at=next_at)


@dataclass(frozen=True, slots=True)
class _Tools:
    sessions: Sessions
    inventory: Inventory
    clock: Clock


async def _remove_all(batch: Batch, *, tools: _Tools) -> None:
    """Remove the files and rows of a deleted batch, except its own; one of an earlier version has its own folder."""
    async for page in tools.inventory.list(_folder(batch.id)):
        await tools.inventory.remove([stored.key for stored in page])
    sessions, are_left = tools.sessions, True
    while are_left:
        async with sessions.write() as session:
            are_left = await queries.remove_products(session, batch.id)
    while await _remove_some_assets(batch, tools=tools):
        pass
    async with sessions.write() as session:
        await queries.remove_deliveries(session, batch.id)


async def _remove_some_assets(batch: Batch, *, tools: _Tools) -> bool:
    """Remove some assets of a deleted batch, and the files that no batch names then; return False if none were left."""
    removal = Removal(batch.api_key_id)
    async with tools.sessions.write() as session:
        await stored_files.lock(session, batch.api_key_id, shared=False)
        keys = await queries.remove_assets(session, batch.id)
        await removal.begin(session, [key for key in keys or () if folder_of(key)], tools.clock())
    await removal.carry_out(sessions=tools.sessions, inventory=tools.inventory)
    return keys is not None


def _was_cut_short(batch: Batch, clean_up_after: timedelta) -> bool:
    """Return whether workers may have stored files after the end of a deleted batch that nothing has removed since."""
    if batch.cancelled or batch.finished_at is None or batch.deleted_at is None:
        return True
    return batch.deleted_at < batch.finished_at + clean_up_after


async def _remove_left_files(batch: Batch, *, until: datetime, tools: _Tools) -> bool:
    """Remove what dead runs of a finished batch stored before `until`; return False if younger files are left."""
    is_clean = await _remove_unreferenced(batch.id, until=until, tools=tools)
    async with tools.sessions.read() as session:
        may_be_left = await stored_files.may_have_left_files(session, batch.id)
    return is_clean and (not may_be_left or await _compare_folder(batch, until=until, tools=tools))


async def _compare_folder(batch: Batch, *, until: datetime, tools: _Tools) -> bool:
    async with tools.sessions.read() as session:
        key = await api_keys.get(session, batch.api_key_id)
    if key is None or key.media_folder is None:
        return True
    return await remove_left_files(
        key.id,
        key.media_folder,
        until=until,
        sessions=tools.sessions,
        inventory=tools.inventory,
        clock=tools.clock,
    )


async def _remove_unreferenced(batch_id: str, *, until: datetime, tools: _Tools) -> bool:
    """Remove the files in the folder of a batch of an earlier version that dead runs stored before `until`."""
    young = 0
    async for page in tools.inventory.list(_folder(batch_id)):
        referenced = await _referenced(batch_id, page, sessions=tools.sessions)
        unreferenced = [stored for stored in page if stored.key not in referenced]
        old = [stored.key for stored in unreferenced if stored.modified < until]
        young += len(unreferenced) - len(old)
        if old:
            log.info("unreferenced_files_removed", batch_id=batch_id, files=len(old))
            await tools.inventory.remove(old)
    return not young


async def _referenced(batch_id: str, page: Sequence[Stored], *, sessions: Sessions) -> set[str]:
    parsed = (parse_batch_key(stored.key) for stored in page)
    async with sessions.read() as session:
        return await assets.rendition_keys(session, batch_id, {each[1] for each in parsed if each})


def _folder(batch_id: str) -> str:
    return f"{batch_id}/"

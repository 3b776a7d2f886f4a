"""Compare the folder of an API key with the tables, and remove what dead runs have left there."""

from collections.abc import Sequence
from datetime import datetime

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import stored_files
from imgsvc.logs import get_logger
from imgsvc.services.batches.remove_files import remove_unnamed
from imgsvc.services.clock import Clock
from imgsvc.services.ports import Inventory, Stored

log = get_logger(__name__)


async def remove_left_files(
    api_key_id: str, folder: str, *, until: datetime, sessions: Sessions, inventory: Inventory, clock: Clock
) -> bool:
    """Remove the files stored before `until` that no batch names; return False if younger ones are left.

    A file without a name may be that of a run that has not written its outcome yet, hence the age.

    Raises:
        StorageError, DatabaseUnavailable
    """
    young = removed = 0
    async for page in inventory.list(f"{folder}/"):
        without_name = await _unnamed(page, sessions=sessions)
        old = [stored.key for stored in page if stored.key in without_name and stored.modified < until]
        young += len(without_name) - len(old)
        if old:
            removed += await remove_unnamed(api_key_id, old, sessions=sessions, inventory=inventory, clock=clock)
    if removed:
        log.info("unnamed_files_removed", api_key_id=api_key_id, files=removed)
    return not young


async def _unnamed(page: Sequence[Stored], *, sessions: Sessions) -> set[str]:
    async with sessions.read() as session:
        return set(await stored_files.unnamed(session, [stored.key for stored in page]))

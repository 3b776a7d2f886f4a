"""Remove stored files that no batch names, whatever is being stored meanwhile (ADR 15)."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from time import monotonic

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import stored_files
from imgsvc.errors import StorageError
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.ports import Inventory

log = get_logger(__name__)

LEASE = timedelta(minutes=2)
"""Time in which a removal is carried out; after it, the sweep repeats a removal that has not ended."""
_FILES = 1_000
"""Files that one sweep removes of removals that were interrupted."""


class Removal:
    """The removal of files of one API key: begun in a transaction, then carried out."""

    def __init__(self, api_key_id: str) -> None:
        self._api_key_id = api_key_id
        self._keys: Sequence[str] = ()
        self._began_at: datetime | None = None
        self._began = 0.0

    async def begin(self, session: AsyncSession, keys: Collection[str], now: datetime) -> None:
        """Choose those of `keys` that no batch names. Call it with the lock on the key's files (`stored_files.lock`).

        From the commit on, no batch can name them until they are removed.
        """
        self._began, self._began_at = monotonic(), now
        self._keys = await stored_files.unnamed(session, keys)
        await stored_files.begin_removal(session, self._api_key_id, self._keys, now)

    async def carry_out(self, *, sessions: Sessions, inventory: Inventory) -> int:
        """Remove the chosen files, and return their number. Call it after the commit.

        Raises:
            StorageError, DatabaseUnavailable: the sweep repeats the removal.
        """
        if not self._keys or self._began_at is None:
            return 0
        if monotonic() - self._began > LEASE.total_seconds() / 2:  # the process was frozen
            raise StorageError("a removal took too long to begin; it is repeated")
        await inventory.remove(self._keys)
        async with sessions.write() as session:
            await stored_files.end_removal(session, self._api_key_id, self._keys, self._began_at)
        return len(self._keys)


async def remove_unnamed(
    api_key_id: str, keys: Collection[str], *, sessions: Sessions, inventory: Inventory, clock: Clock
) -> int:
    """Remove those of `keys` that no batch names, and return their number.

    Raises:
        StorageError, DatabaseUnavailable: the sweep repeats the removal.
    """
    removal = Removal(api_key_id)
    async with sessions.write() as session:
        await stored_files.lock(session, api_key_id, shared=False)
        await removal.begin(session, keys, clock())
    return await removal.carry_out(sessions=sessions, inventory=inventory)


async def repeat_removals(*, sessions: Sessions, inventory: Inventory, clock: Clock, forget_after: timedelta) -> None:
    """Carry out removals whose process died, and forget those that ended `forget_after` ago.

    Raises:
        StorageError, DatabaseUnavailable: the next sweep continues.
    """
    now = clock()
    async with sessions.read() as session:
        interrupted = await stored_files.interrupted_removals(session, now - LEASE, limit=_FILES)
        forgettable = await stored_files.any_removal_until(session, now - forget_after)
    by_key = defaultdict(list)
    for api_key_id, key in interrupted:
        by_key[api_key_id].append(key)
    for api_key_id, keys in by_key.items():
        removed = await remove_unnamed(api_key_id, keys, sessions=sessions, inventory=inventory, clock=clock)
        log.info("removal_repeated", api_key_id=api_key_id, files=removed)
    if forgettable:
        async with sessions.write() as session:
            await stored_files.forget_removals(session, now - forget_after)

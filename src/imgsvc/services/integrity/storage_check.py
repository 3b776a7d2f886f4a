"""The check of all stored files against the rows that name them."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, integrity, stored_file_audit, stored_files
from imgsvc.db.queries.integrity import Span
from imgsvc.db.queries.stored_files import NamedFile
from imgsvc.domain.media_keys import folder_of, key_hash, parse_batch_key
from imgsvc.domain.status import AssetStatus
from imgsvc.services.ports import Inventory, Stored


@dataclass
class StorageCheck:
    """One pass over the storage. Files stored after `until` may not be named yet."""

    sessions: Sessions
    inventory: Inventory
    until: datetime
    files: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """Existing files that each batch names, even with a wrong size."""
    wrong_sizes: list[str] = field(default_factory=list)

    async def run(self) -> AsyncIterator[str]:
        """Check every file; yield a line on each that no row names, and that no clean-up will remove."""
        busy = await self._busy()
        async for page in self.inventory.list(""):
            async with self.sessions.read() as session:
                sizes = await self._named(session, page)
                removed_soon = await stored_file_audit.in_removal(session, [stored.key for stored in page], self.until)
            busy_now = await self._busy() if any(stored.key not in sizes for stored in page) else set()
            for stored in page:
                self.files += 1
                size = sizes.get(stored.key)
                if size is None:
                    is_busy = _folder(stored) in busy | busy_now or stored.key in removed_soon
                    if stored.modified < self.until and not is_busy:
                        yield f"{stored.key} ({stored.size:,} bytes, {stored.modified:%Y-%m-%d %H:%M})"
                elif size != stored.size:
                    self.wrong_sizes.append(f"{stored.key} has {stored.size:,} bytes instead of {size:,}")

    async def _busy(self) -> set[str]:
        """Return the folders whose files may just have been stored, or are about to be removed by a clean-up."""
        async with self.sessions.read() as session:
            return await stored_file_audit.folders_with_clean_up(session, self.until)

    async def _named(self, session: AsyncSession, page: Sequence[Stored]) -> dict[str, int]:
        """Return the size of each file that rows name, as recorded with the first of them; count it for all batches."""
        places = await _places(session, [stored.key for stored in page])
        first: defaultdict[str, set[int]] = defaultdict(set)
        for its_places in places.values():
            self.found.update(place.batch_id for place in its_places)
            first[its_places[0].batch_id].add(its_places[0].position)
        sizes: dict[str, int] = {}
        for batch_id, positions in first.items():
            for row in (await assets.at_positions(session, batch_id, positions)).values():
                if row.status == AssetStatus.SUCCEEDED:
                    sizes.update((entry["key"], entry["bytes"]) for entry in row.renditions or ())
        return {key: sizes[key] for key in places if key in sizes}

    async def missing(self, batch_id: str) -> list[str]:
        """Return the keys of a batch that are not in the storage."""
        keys: set[str] = set()
        async with self.sessions.read() as session:
            async for _, _, renditions in integrity.renditions(session, Span(batch_id, batch_id)):
                keys.update(entry["key"] for entry in renditions)
        missing = set(keys)
        for folder in {key.partition("/")[0] for key in keys}:
            async for page in self.inventory.list(f"{folder}/"):
                missing.difference_update(stored.key for stored in page)
        async with self.sessions.read() as session:
            batch = (await integrity.batches_by_id(session, [batch_id])).get(batch_id)
        return sorted(missing) if batch and batch.deleted_at is None else []  # a deletion removes some of them


async def _places(session: AsyncSession, keys: Sequence[str]) -> dict[str, list[NamedFile]]:
    """Return the assets of existing batches that name each of `keys`, one of each batch."""
    places = await stored_files.find(session, [key for key in keys if folder_of(key)])
    parsed = {key: found for key in keys if (found := parse_batch_key(key))}
    batches = await integrity.batches_by_id(session, {batch_id for batch_id, _ in parsed.values()})
    positions: defaultdict[str, set[int]] = defaultdict(set)
    for batch_id, position in parsed.values():
        if batch_id in batches and batches[batch_id].deleted_at is None:
            positions[batch_id].add(position)
    for batch_id, of_batch in positions.items():
        named = await assets.rendition_keys(session, batch_id, of_batch)
        places |= {key: [NamedFile(key_hash(key), *place)] for key, place in parsed.items() if key in named}
    return places


def _folder(stored: Stored) -> str:
    return stored.key.partition("/")[0]

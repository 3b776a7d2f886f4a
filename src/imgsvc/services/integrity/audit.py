"""The deep check: whether counters, rows, deliveries and files agree, and whether anything was left undone."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, integrity
from imgsvc.db.queries.integrity import Span
from imgsvc.db.tables import Batch
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.status import OPEN_BATCH, AssetStatus
from imgsvc.services.clock import Clock
from imgsvc.services.integrity.rules import OF_A_DELETED_BATCH, RULES, Category
from imgsvc.services.integrity.snapshot import BatchSnapshot, take_snapshots
from imgsvc.services.ports import Inventory, Stored

MAX_EXAMPLES = 5
MAX_SPAN_ASSETS = 10_000
"""Assets of small batches that are read in one transaction."""


@dataclass(slots=True)
class Violations:
    """How much is wrong with one part, and the first few, a line each."""

    total: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Audit:
    """What was looked at, and what is wrong with it."""

    batches: int = 0
    products: int = 0
    assets: int = 0
    renditions: int = 0
    rendition_bytes: int = 0
    deliveries: int = 0
    attempts: int = 0
    files: int = 0
    faults: dict[Category, Violations] = field(default_factory=lambda: {part: Violations() for part in Category})

    def note(self, part: Category, fault: str) -> None:
        faults = self.faults[part]
        faults.total += 1
        if len(faults.examples) < MAX_EXAMPLES:
            faults.examples.append(fault)

    def add(self, seen: BatchSnapshot) -> None:
        self.batches += 1
        self.products += seen.totals.products
        self.assets += seen.count(*AssetStatus)
        self.renditions += seen.totals.renditions
        self.rendition_bytes += seen.totals.rendition_bytes
        self.deliveries += len(seen.deliveries)
        self.attempts += sum(len(logged.attempts) for logged in seen.deliveries)


@dataclass(frozen=True, slots=True)
class _Then:
    """What the rows said of a batch before the storage was listed."""

    renditions: int
    awaits_clean_up: bool


async def run_audit(*, sessions: Sessions, inventory: Inventory, clock: Clock, grace: timedelta) -> Audit:
    """Look at every row and every file once; nothing is changed.

    Safe beside a running service: a batch and its rows are read as they are at one moment, and a file is compared with
    the rows before and after it was listed. What is younger than `grace` may still be under way.

    Raises:
        DatabaseUnavailable, StorageError
    """
    result, until = Audit(), clock() - grace
    known = {batch_id: then async for batch_id, then in _rows(result, sessions=sessions, until=until)}
    found = await _files(result, known, sessions=sessions, inventory=inventory, until=until)
    for batch_id, then in known.items():
        if found[batch_id] != then.renditions:  # or it has changed since: a closer look
            for key in await _missing(batch_id, sessions=sessions, inventory=inventory):
                result.note(Category.RENDITIONS, f"{key} is not in the storage")
    return result


async def _rows(result: Audit, *, sessions: Sessions, until: datetime) -> AsyncIterator[tuple[str, _Then]]:
    async with sessions.read() as session:
        for key, batch_id in await integrity.keys_without_batch(session):
            result.note(Category.STATES, f"idempotency key {key!r} leads to {batch_id}, which is not there")
    async for span in _spans(sessions):
        async with sessions.read() as session:
            taken = await take_snapshots(session, span, until=until)
        for seen in taken:
            result.add(seen)
            for part, rule in OF_A_DELETED_BATCH if seen.batch.deleted_at else RULES:
                for fault in rule(seen):
                    result.note(part, f"{seen.batch.id}: {fault}")
            yield seen.batch.id, _Then(seen.totals.renditions, _awaits_clean_up(seen.batch, until))


async def _spans(sessions: Sessions) -> AsyncIterator[Span]:
    """All batches, in spans of at most `TOGETHER` assets, or of one batch."""
    page = [("", 0)]
    while page:
        async with sessions.read() as session:
            page = await integrity.batch_sizes(session, after=page[-1][0])
        together: list[str] = []
        room = MAX_SPAN_ASSETS
        for batch_id, size in page:
            if together and size > room:
                yield Span(together[0], together[-1])
                together, room = [], MAX_SPAN_ASSETS
            together.append(batch_id)
            room -= size
        if together:
            yield Span(together[0], together[-1])


async def _files(
    result: Audit, known: Mapping[str, _Then], *, sessions: Sessions, inventory: Inventory, until: datetime
) -> Counter[str]:
    """Look at every file; how many renditions of each batch are there, whatever their size."""
    found: Counter[str] = Counter()
    async for page in inventory.list(""):
        async with sessions.read() as session:
            owners = await integrity.batches_by_id(session, {_folder(stored) for stored in page})
            named = await _named(session, page, owners)
        for stored in page:
            result.files += 1
            size = named.get(stored.key)
            if size is not None:
                found[_folder(stored)] += 1
                if size != stored.size:
                    result.note(Category.RENDITIONS, f"{stored.key} has {stored.size:,} bytes instead of {size:,}")
            elif stored.modified < until and _is_left(known.get(_folder(stored)), owners.get(_folder(stored)), until):
                result.note(
                    Category.LEFTOVERS, f"{stored.key} ({stored.size:,} bytes, {stored.modified:%Y-%m-%d %H:%M})"
                )
    return found


async def _named(session: AsyncSession, page: Sequence[Stored], owners: Mapping[str, Batch]) -> dict[str, int]:
    """Every key that the assets of these files name, with its size; a deleted batch names nothing any more."""
    places: defaultdict[str, set[int]] = defaultdict(set)
    for stored in page:
        if place := parse_rendition_key(stored.key):
            places[place[0]].add(place[1])
    named: dict[str, int] = {}
    for batch_id, positions in places.items():
        if batch_id in owners and owners[batch_id].deleted_at is None:
            for row in (await assets.at_positions(session, batch_id, positions)).values():
                if row.status == AssetStatus.SUCCEEDED:
                    named.update((entry["key"], entry["bytes"]) for entry in row.renditions or ())
    return named


def _is_left(then: _Then | None, owner: Batch | None, until: datetime) -> bool:
    """Whether nobody will take away a file that is not named, or should have by now.

    `then` and `owner` are the batch in whose folder it lies, before and after it was listed. What changed in between
    may have brought it or be taking it away.
    """
    if then is None or owner is None:
        return then is None and owner is None
    return not then.awaits_clean_up and not _awaits_clean_up(owner, until)


def _awaits_clean_up(batch: Batch, until: datetime) -> bool:
    """Whether what lies in its folder without a name will go by itself: a while after its end, or its deletion."""
    return batch.status in OPEN_BATCH or (batch.tidy_at is not None and batch.tidy_at >= until)


async def _missing(batch_id: str, *, sessions: Sessions, inventory: Inventory) -> list[str]:
    """The keys of a batch under which nothing lies."""
    named: set[str] = set()
    async with sessions.read() as session:
        async for _, _, renditions in integrity.renditions(session, Span(batch_id, batch_id)):
            named.update(entry["key"] for entry in renditions)
    async for page in inventory.list(f"{batch_id}/"):
        named.difference_update(stored.key for stored in page)
    async with sessions.read() as session:
        batch = (await integrity.batches_by_id(session, [batch_id])).get(batch_id)
    return sorted(named) if batch and batch.deleted_at is None else []  # deleted meanwhile: files go first


def _folder(stored: Stored) -> str:
    return stored.key.partition("/")[0]

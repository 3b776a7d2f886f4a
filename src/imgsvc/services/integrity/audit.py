"""The integrity audit: compare counters, rows, deliveries and files, and report overdue work."""

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
from imgsvc.services.integrity.rules import DELETED_BATCH_RULES, RULES, Category
from imgsvc.services.integrity.snapshot import BatchSnapshot, take_snapshots
from imgsvc.services.ports import Inventory, Stored

MAX_EXAMPLES = 5
MAX_SPAN_ASSETS = 10_000
"""Assets of small batches read in one transaction."""


@dataclass(slots=True)
class Violations:
    """The number of violations in one category, and a line on each of the first few."""

    total: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Audit:
    """The numbers of rows and files examined, and the violations found."""

    batches: int = 0
    products: int = 0
    assets: int = 0
    renditions: int = 0
    rendition_bytes: int = 0
    deliveries: int = 0
    attempts: int = 0
    files: int = 0
    violations: dict[Category, Violations] = field(default_factory=lambda: {name: Violations() for name in Category})

    def report(self, category: Category, violation: str) -> None:
        violations = self.violations[category]
        violations.total += 1
        if len(violations.examples) < MAX_EXAMPLES:
            violations.examples.append(violation)

    def add(self, snapshot: BatchSnapshot) -> None:
        self.batches += 1
        self.products += snapshot.totals.products
        self.assets += snapshot.count(*AssetStatus)
        self.renditions += snapshot.totals.renditions
        self.rendition_bytes += snapshot.totals.rendition_bytes
        self.deliveries += len(snapshot.deliveries)
        self.attempts += sum(len(log.attempts) for log in snapshot.deliveries)


@dataclass(frozen=True, slots=True)
class _RowFacts:
    """Facts from a batch's rows before the storage was listed."""

    renditions: int
    awaits_clean_up: bool


async def run_audit(*, sessions: Sessions, inventory: Inventory, clock: Clock, grace: timedelta) -> Audit:
    """Examine every row and every file once, without changing anything.

    Safe while the service runs: a batch and its rows are read in one snapshot, and a file is compared with the rows
    before and after it was listed. Anything younger than `grace` may still be in progress.

    Raises:
        DatabaseUnavailable, StorageError
    """
    result, until = Audit(), clock() - grace
    before = {batch_id: facts async for batch_id, facts in _check_rows(result, sessions=sessions, until=until)}
    found = await _check_files(result, before, sessions=sessions, inventory=inventory, until=until)
    for batch_id, facts in before.items():
        if found[batch_id] != facts.renditions:  # files are missing, or the batch has changed since: check again
            for key in await _missing(batch_id, sessions=sessions, inventory=inventory):
                result.report(Category.RENDITIONS, f"{key} is not in the storage")
    return result


async def _check_rows(result: Audit, *, sessions: Sessions, until: datetime) -> AsyncIterator[tuple[str, _RowFacts]]:
    async with sessions.read() as session:
        for key, batch_id in await integrity.keys_without_batch(session):
            result.report(Category.STATES, f"idempotency key {key!r} refers to {batch_id}, which does not exist")
    async for span in _spans(sessions):
        async with sessions.read() as session:
            snapshots = await take_snapshots(session, span, until=until)
        for snapshot in snapshots:
            result.add(snapshot)
            for category, rule in DELETED_BATCH_RULES if snapshot.batch.deleted_at else RULES:
                for violation in rule(snapshot):
                    result.report(category, f"{snapshot.batch.id}: {violation}")
            yield snapshot.batch.id, _RowFacts(snapshot.totals.renditions, _awaits_clean_up(snapshot.batch, until))


async def _spans(sessions: Sessions) -> AsyncIterator[Span]:
    """Yield all batches in spans of at most `MAX_SPAN_ASSETS` assets, or of one batch."""
    page = [("", 0)]
    while page:
        async with sessions.read() as session:
            page = await integrity.batch_sizes(session, after=page[-1][0])
        batch_ids: list[str] = []
        left = MAX_SPAN_ASSETS
        for batch_id, size in page:
            if batch_ids and size > left:
                yield Span(batch_ids[0], batch_ids[-1])
                batch_ids, left = [], MAX_SPAN_ASSETS
            batch_ids.append(batch_id)
            left -= size
        if batch_ids:
            yield Span(batch_ids[0], batch_ids[-1])


async def _check_files(
    result: Audit, before: Mapping[str, _RowFacts], *, sessions: Sessions, inventory: Inventory, until: datetime
) -> Counter[str]:
    """Check every file; return how many renditions of each batch exist, even with a wrong size."""
    found: Counter[str] = Counter()
    async for page in inventory.list(""):
        async with sessions.read() as session:
            owners = await integrity.batches_by_id(session, {_folder(stored) for stored in page})
            referenced = await _referenced(session, page, owners)
        for stored in page:
            result.files += 1
            size = referenced.get(stored.key)
            if size is not None:
                found[_folder(stored)] += 1
                if size != stored.size:
                    result.report(Category.RENDITIONS, f"{stored.key} has {stored.size:,} bytes instead of {size:,}")
            elif stored.modified < until and _is_leftover(
                before.get(_folder(stored)), owners.get(_folder(stored)), until
            ):
                result.report(
                    Category.LEFTOVERS, f"{stored.key} ({stored.size:,} bytes, {stored.modified:%Y-%m-%d %H:%M})"
                )
    return found


async def _referenced(session: AsyncSession, page: Sequence[Stored], owners: Mapping[str, Batch]) -> dict[str, int]:
    """Return the keys that the assets of these files refer to, with their sizes; a deleted batch refers to none."""
    positions_by_batch: defaultdict[str, set[int]] = defaultdict(set)
    for stored in page:
        if parsed := parse_rendition_key(stored.key):
            positions_by_batch[parsed[0]].add(parsed[1])
    referenced: dict[str, int] = {}
    for batch_id, positions in positions_by_batch.items():
        if batch_id in owners and owners[batch_id].deleted_at is None:
            for row in (await assets.at_positions(session, batch_id, positions)).values():
                if row.status == AssetStatus.SUCCEEDED:
                    referenced.update((entry["key"], entry["bytes"]) for entry in row.renditions or ())
    return referenced


def _is_leftover(before: _RowFacts | None, owner: Batch | None, until: datetime) -> bool:
    """Return whether no clean-up will remove an unreferenced file, or one is overdue.

    `before` and `owner` are the batch of the file's folder before and after the file was listed. If the batch changed
    in between, the file may have just been stored, or be about to be removed.
    """
    if before is None or owner is None:
        return before is None and owner is None
    return not before.awaits_clean_up and not _awaits_clean_up(owner, until)


def _awaits_clean_up(batch: Batch, until: datetime) -> bool:
    """Return whether a clean-up, after the end or deletion of the batch, will remove its unreferenced files."""
    return batch.status in OPEN_BATCH or (batch.tidy_at is not None and batch.tidy_at >= until)


async def _missing(batch_id: str, *, sessions: Sessions, inventory: Inventory) -> list[str]:
    """Return the keys of a batch that are not in the storage."""
    missing: set[str] = set()
    async with sessions.read() as session:
        async for _, _, renditions in integrity.renditions(session, Span(batch_id, batch_id)):
            missing.update(entry["key"] for entry in renditions)
    async for page in inventory.list(f"{batch_id}/"):
        missing.difference_update(stored.key for stored in page)
    async with sessions.read() as session:
        batch = (await integrity.batches_by_id(session, [batch_id])).get(batch_id)
    return sorted(missing) if batch and batch.deleted_at is None else []  # a deletion removes the files first


def _folder(stored: Stored) -> str:
    return stored.key.partition("/")[0]

"""The integrity audit: compare counters, rows, deliveries and files, and report overdue work."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import integrity, stored_file_audit
from imgsvc.db.queries.integrity import Span
from imgsvc.domain.status import AssetStatus
from imgsvc.services.clock import Clock
from imgsvc.services.integrity.rules import DELETED_BATCH_RULES, RULES, Category
from imgsvc.services.integrity.snapshot import BatchSnapshot, take_snapshots
from imgsvc.services.integrity.storage_check import StorageCheck
from imgsvc.services.ports import Inventory

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


async def run_audit(*, sessions: Sessions, inventory: Inventory, clock: Clock, grace: timedelta) -> Audit:
    """Examine every row and every file once, without changing anything.

    Safe while the service runs: a batch and its rows are read in one snapshot, and a file is compared with the rows
    before and after it was listed. Anything younger than `grace` may still be in progress.

    Raises:
        DatabaseUnavailable, StorageError
    """
    result, until = Audit(), clock() - grace
    files = {batch_id: count async for batch_id, count in _check_rows(result, sessions=sessions, until=until)}
    async with sessions.read() as session:
        for row in await stored_file_audit.files_without_asset(session):
            result.report(Category.STATES, f"{row.batch_id} names a stored file, but not by image {row.position}")
    storage = StorageCheck(sessions, inventory, until)
    async for leftover in storage.run():
        result.report(Category.LEFTOVERS, leftover)
    for wrong in storage.wrong_sizes:
        result.report(Category.RENDITIONS, wrong)
    for batch_id, count in files.items():
        if storage.found[batch_id] != count:  # files are missing, or the batch has changed since: check again
            for key in await storage.missing(batch_id):
                result.report(Category.RENDITIONS, f"{key} is not in the storage")
    result.files = storage.files
    return result


async def _check_rows(result: Audit, *, sessions: Sessions, until: datetime) -> AsyncIterator[tuple[str, int]]:
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
            yield snapshot.batch.id, len(snapshot.totals.files)


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

"""Consistent snapshots of batches, with totals over their rows for the rules."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import api_keys, integrity, stored_file_audit
from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.queries.integrity import AssetGroup, Contradiction, Span
from imgsvc.db.tables import Batch
from imgsvc.domain.media_keys import folder_of, parse_batch_key
from imgsvc.domain.status import OPEN_BATCH, AssetStatus


@dataclass(slots=True)
class BatchTotals:
    """Totals over the lists in rows: URLs of the products, renditions of the succeeded assets.

    `referenced`: the asset positions in the products' slots. `mismatched`: positions of assets whose renditions do not
    match the batch's specs, or have the key of another owner. `files`: the keys of the renditions; `unnoted`: those of
    them that are not noted as stored files of the batch.
    """

    products: int = 0
    urls: int = 0
    referenced: set[int] = field(default_factory=set)
    renditions: int = 0
    rendition_bytes: int = 0
    mismatched: list[int] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    unnoted: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BatchSnapshot:
    """A batch and its rows at one moment; for a deleted batch, its own row only.

    Unfinished work that was due before `until` is overdue.
    """

    batch: Batch
    until: datetime
    groups: Sequence[AssetGroup] = ()
    contradictions: Sequence[Contradiction] = ()
    deliveries: Sequence[DeliveryLog] = ()
    totals: BatchTotals = field(default_factory=BatchTotals)

    def count(self, *statuses: AssetStatus) -> int:
        return sum(group.assets for group in self.groups if group.status in statuses)

    @property
    def is_open(self) -> bool:
        return self.batch.status in OPEN_BATCH


async def take_snapshots(session: AsyncSession, span: Span, *, until: datetime) -> list[BatchSnapshot]:
    """Return the batches of `span` as this reading session sees them."""
    batches = await integrity.batches(session, span)
    groups = await integrity.asset_groups(session, span)
    contradictions = await integrity.contradictions(session, span)
    deliveries = await integrity.deliveries(session, span)
    totals = await _batch_totals(session, span, batches)
    return [
        BatchSnapshot(batch, until)
        if batch.deleted_at
        else BatchSnapshot(
            batch, until, groups.get(batch.id, ()), contradictions.get(batch.id, ()), deliveries.get(batch.id, ()),
            totals[batch.id],
        )
        for batch in batches
    ]  # fmt: skip


async def _batch_totals(session: AsyncSession, span: Span, batches: Sequence[Batch]) -> dict[str, BatchTotals]:
    by_id = {batch.id: batch for batch in batches}
    folders = await api_keys.media_folders(session, {batch.api_key_id for batch in batches})
    totals_by_batch: defaultdict[str, BatchTotals] = defaultdict(BatchTotals)
    async for batch_id, slots in integrity.slots(session, span):
        totals = totals_by_batch[batch_id]
        totals.products += 1
        totals.urls += len(slots)
        totals.referenced.update(slots)
    async for batch_id, position, renditions in integrity.renditions(session, span):
        totals = totals_by_batch[batch_id]
        totals.renditions += len(renditions)
        totals.rendition_bytes += sum(entry["bytes"] for entry in renditions)
        totals.files.update(entry["key"] for entry in renditions)
        batch = by_id.get(batch_id)
        if batch and not _matches(renditions, batch, position, folders.get(batch.api_key_id)):
            totals.mismatched.append(position)
    for batch_id, totals in totals_by_batch.items():
        shared = [key for key in totals.files if folder_of(key)]
        totals.unnoted = await stored_file_audit.unnoted(session, batch_id, shared)
    return totals_by_batch


def _matches(renditions: list[dict[str, Any]], batch: Batch, position: int, folder: str | None) -> bool:
    """Return whether an asset has the renditions of its batch, in the folder of its API key or of its batch."""
    places = {folder_of(entry["key"]) or parse_batch_key(entry["key"]) for entry in renditions}
    has_own_keys = places <= {folder, (batch.id, position)}
    return has_own_keys and [entry["name"] for entry in renditions] == [spec["name"] for spec in batch.specs]

"""Batches and their rows as they are at one moment, added up so that rules can look at them from all sides."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import integrity
from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.queries.integrity import AssetGroup, Contradiction, Span
from imgsvc.db.tables import Batch
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.status import OPEN_BATCH, AssetStatus


@dataclass(slots=True)
class BatchTotals:
    """What stands in lists of the rows, added up: URLs of the products, renditions of the succeeded assets.

    `shown` are the positions that slots name; `misfits` those of assets whose renditions are not what the specs ask
    for, or lie in another place than theirs.
    """

    products: int = 0
    urls: int = 0
    shown: set[int] = field(default_factory=set)
    renditions: int = 0
    rendition_bytes: int = 0
    misfits: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BatchSnapshot:
    """A batch and its rows as they are at one moment; of a deleted one nothing but itself.

    What was to be done before `until` and is not is overdue.
    """

    batch: Batch
    until: datetime
    groups: Sequence[AssetGroup] = ()
    oddities: Sequence[Contradiction] = ()
    deliveries: Sequence[DeliveryLog] = ()
    totals: BatchTotals = field(default_factory=BatchTotals)

    def count(self, *statuses: AssetStatus) -> int:
        return sum(group.assets for group in self.groups if group.status in statuses)

    @property
    def is_open(self) -> bool:
        return self.batch.status in OPEN_BATCH


async def take_snapshots(session: AsyncSession, span: Span, *, until: datetime) -> list[BatchSnapshot]:
    """The batches of `span` as this reading session sees them."""
    batches = await integrity.batches(session, span)
    groups = await integrity.asset_groups(session, span)
    oddities = await integrity.contradictions(session, span)
    deliveries = await integrity.deliveries(session, span)
    worker_stats = await _row_totals(
        session, span, {batch.id: [spec["name"] for spec in batch.specs] for batch in batches}
    )
    return [
        BatchSnapshot(batch, until)
        if batch.deleted_at
        else BatchSnapshot(
            batch, until, groups.get(batch.id, ()), oddities.get(batch.id, ()), deliveries.get(batch.id, ()),
            worker_stats[batch.id],
        )
        for batch in batches
    ]  # fmt: skip


async def _row_totals(session: AsyncSession, span: Span, names: Mapping[str, list[str]]) -> dict[str, BatchTotals]:
    worker_stats: defaultdict[str, BatchTotals] = defaultdict(BatchTotals)
    async for batch_id, slots in integrity.slots(session, span):
        totals = worker_stats[batch_id]
        totals.products += 1
        totals.urls += len(slots)
        totals.shown.update(slots)
    async for batch_id, position, renditions in integrity.renditions(session, span):
        totals = worker_stats[batch_id]
        totals.renditions += len(renditions)
        totals.rendition_bytes += sum(entry["bytes"] for entry in renditions)
        if not _fits(renditions, names.get(batch_id, []), (batch_id, position)):
            totals.misfits.append(position)
    return worker_stats


def _fits(renditions: list[dict[str, Any]], names: list[str], place: tuple[str, int]) -> bool:
    are_here = all(parse_rendition_key(entry["key"]) == place for entry in renditions)
    return are_here and [entry["name"] for entry in renditions] == names

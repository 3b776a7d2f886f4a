"""Read what changed in a batch since the version of its catalogue before it."""

from collections.abc import AsyncIterator, Sequence

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import versions
from imgsvc.db.queries.batches import ProductRow
from imgsvc.db.queries.versions import COMPARED_WITH
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.versions import NEW, UNCHANGED
from imgsvc.errors import NotCompared

PAGE = 250
"""Rows per read."""


def has_changes(batch: Batch) -> bool:
    """Return whether the batch has been compared."""
    return batch.changes is not None and NEW in batch.changes


def earlier_version(batch: Batch) -> str | None:
    """Return the id of the batch that it was compared with; None: it is the first version, or was not compared."""
    found = (batch.changes or {}).get(COMPARED_WITH)
    return str(found) if found else None


def change_of(batch: Batch, product: ProductRow) -> str | None:
    """Return how the row of a product changed; None if the batch was not compared."""
    if not has_changes(batch):
        return None
    return (product.change or UNCHANGED) if earlier_version(batch) else NEW


def require_changes(batch: Batch) -> None:
    """Raise NotCompared if it is not known what changed in a finished batch."""
    if batch.catalogue is None:
        raise NotCompared(f"Batch {batch.id} is no version of a catalogue: upload with the field `catalogue`.")
    if not has_changes(batch):
        raise NotCompared(f"Batch {batch.id} was {batch.status} before it was compared with the version before.")


async def gone_pages(batch_id: str, *, sessions: Sessions) -> AsyncIterator[list[Sequence[str]]]:
    """Yield the cells of the rows that only the version before has, a page at a time."""
    after: int | None = -1
    while after is not None:
        async with sessions.read() as session:
            page = await versions.gone_page(session, batch_id, after=after, limit=PAGE)
        if page:
            yield [cells for _, cells in page]
        after = page[-1][0] if page else None

"""Compare a batch whose images have ended with the version of its catalogue before it, then finish it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, islice

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, counters, versions
from imgsvc.db.queries.versions import COMPARE, COMPARED_WITH
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.output import OutputTable
from imgsvc.domain.manifest.versions import RowChanges, Rows, compare
from imgsvc.errors import NotFound
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import Retention, announce, finish_batch
from imgsvc.services.batches.read import file_format, product_pages
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.results.report import output_row, output_table

PAGE = 1_000
"""Rows per transaction."""
_KEYS = Links("")
"""Addresses that depend on nothing but the stored files."""


async def compare_versions(
    batch_id: str, *, sessions: Sessions, queue: JobQueue, retention: Retention, clock: Clock
) -> None:
    """Compare the batch if that is its change in progress, then finish it. Idempotent, and safe to run concurrently.

    Raises:
        DatabaseUnavailable: the sweep wakes another job.
    """
    async with sessions.read() as session:
        batch = await batches.get(session, batch_id)
    if batch is None or batch.change != COMPARE:
        return
    rows = await _rows(batch, output_table(batch), sessions)
    while True:  # the earlier version may be deleted meanwhile; then there is another, or none
        async with sessions.write() as session:
            is_open, earlier = await _choose(session, batch)
        if not is_open:
            return
        try:
            changes = await _compared(batch, earlier, rows, sessions)
            if earlier and not await _write(batch, earlier, changes, sessions):
                return
        except NotFound:
            continue
        break
    values = {
        COMPARED_WITH: earlier.id if earlier else None,
        "new": len(changes.new),
        "changed": len(changes.changed),
        "unchanged": changes.unchanged,
        "gone": len(changes.gone),
    }
    ended = None
    async with sessions.write() as session:
        if await _still_compares(session, batch, earlier) and (counted := await counters.lock(session, batch.id)):
            ended = await finish_batch(session, batch.id, counted, retention=retention, now=clock(), changes=values)
    if ended:
        await announce(ended, queue=queue)


async def _rows(batch: Batch, table: OutputTable, sessions: Sessions) -> Rows:
    """Read the rows of a version as `table` returns them.

    Raises:
        NotFound: it has been deleted.
    """
    rows, is_numbered = Rows(table.layout.header), table.file.serial_column is None
    async for page in product_pages(batch.id, sessions=sessions):
        for view in page:
            product = view.product.product_name if is_numbered else view.product.serial_number
            rows.add(product, output_row(view, table, _KEYS))
    return rows


async def _choose(session: AsyncSession, batch: Batch) -> tuple[bool, Batch | None]:
    """Return whether the batch is still to be compared, and with which version; it stays the same until deleted."""
    current = await versions.lock(session, batch.id, batch.round)
    if current is None:
        return False, None
    chosen = (current.changes or {}).get(COMPARED_WITH)
    earlier = await batches.get(session, chosen) if chosen else None
    if earlier is None:
        earlier = await versions.earlier(session, batch)
        await versions.compare_with(session, batch, earlier.id if earlier else None)
    return True, earlier


async def _compared(batch: Batch, earlier: Batch | None, rows: Rows, sessions: Sessions) -> RowChanges:
    """Compare with the rows of `earlier` as they would be returned with the options of `batch`."""
    if earlier is None:
        return RowChanges(new=list(range(len(rows))))
    options = {"output": file_format(batch).output, "on_failed": file_format(batch).on_failed}
    file = file_format(earlier).model_copy(update=options)
    table = OutputTable(earlier.header, file, renditions=output_table(batch).renditions)
    before = await _rows(earlier, table, sessions)
    return await asyncio.to_thread(compare, before, rows)


async def _write(batch: Batch, earlier: Batch, changes: RowChanges, sessions: Sessions) -> bool:
    """Write the changes of the rows; return False if the batch is not to be compared with `earlier` any more.

    Raises:
        NotFound: `earlier` has been deleted.
    """
    new, changed = _windows(changes.new), _windows(changes.changed)
    for start in range(0, batch.product_count, PAGE):
        async with sessions.write() as session:
            if not await _still_compares(session, batch, earlier):
                return False
            window = range(start, start + PAGE)
            await versions.mark(session, batch.id, window, new=new.get(start, ()), changed=changed.get(start, ()))
    gone = iter(changes.gone)
    while positions := list(islice(gone, PAGE)):
        async with sessions.write() as session:
            if not await _still_compares(session, batch, earlier):
                return False
            cells = await versions.cells_at(session, earlier.id, positions)
            if len(cells) < len(positions):
                raise NotFound(f"Batch {earlier.id} was deleted.")
            moved = [(position, _in_columns_of(batch, earlier, cells[position])) for position in positions]
            await versions.add_gone(session, batch.id, moved)
    return True


def _windows(positions: Sequence[int]) -> dict[int, list[int]]:
    """Group positions by the first position of their page."""
    return {start: list(group) for start, group in groupby(positions, key=lambda position: position // PAGE * PAGE)}


def _in_columns_of(batch: Batch, earlier: Batch, cells: Sequence[str]) -> list[str]:
    """Return the cells of an earlier row in the columns of `batch`, by their names."""
    named = dict(zip(_numbered(earlier.header), cells, strict=False))
    return [named.get(name, "") for name in _numbered(batch.header)]


def _numbered(header: Sequence[str]) -> list[tuple[str, int]]:
    """Return each name with its number among equal names."""
    seen = Counter[str]()
    names = []
    for name in header:
        seen[name] += 1
        names.append((name, seen[name]))
    return names


async def _still_compares(session: AsyncSession, batch: Batch, earlier: Batch | None) -> bool:
    current = await versions.lock(session, batch.id, batch.round)
    return current is not None and current.changes == {COMPARED_WITH: earlier.id if earlier else None}

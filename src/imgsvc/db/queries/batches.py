"""Statements on batches and their products."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import insert, literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import CHANGING_BATCHES, OPEN_BATCHES, VERSIONS, Asset, Batch, Product
from imgsvc.domain.status import BATCH_MOVES, BatchStatus

_SLICE = 250
"""Rows per INSERT. While 100,000 URLs were stored, status reads took 32 to 42 ms at p99; with 1,000 rows 44 to 60."""


class ProductRow(NamedTuple):
    """The columns of a product that reports and product pages show."""

    position: int
    serial_number: str
    product_name: str
    cells: list[str]
    slots: list[int]
    slot_counts: list[int] | None
    source: str | None
    change: str | None = None


class ProductSlots(NamedTuple):
    """The columns of a product that say which images it has."""

    position: int
    serial_number: str
    product_name: str
    slots: list[int]


async def insert_rows(session: AsyncSession, table: type[Product | Asset], rows: Iterable[dict[str, Any]]) -> None:
    """Insert `rows` in slices, so that other tasks run in between."""
    statement, left = insert(table), iter(rows)
    connection = await session.connection()
    while pending := list(islice(left, _SLICE)):
        await connection.execute(statement, pending)


async def show(session: AsyncSession, batch_id: str, *, now: datetime) -> bool:
    """Show a batch that was stored as a deleted one; return False if its clean-up is due."""
    statement = update(Batch).where(
        col(Batch.id) == batch_id, col(Batch.deleted_at).is_not(None), col(Batch.tidy_at) > now
    )
    return bool((await session.exec(statement.values(deleted_at=None, tidy_at=None))).rowcount)


async def get(session: AsyncSession, batch_id: str, *, api_key_id: str | None = None) -> Batch | None:
    """Return the batch unless it is deleted or belongs to another key (`api_key_id=None`: any key)."""
    statement = select(Batch).where(Batch.id == batch_id, col(Batch.deleted_at).is_(None))
    if api_key_id is not None:
        statement = statement.where(Batch.api_key_id == api_key_id)
    return (await session.exec(statement, execution_options={"populate_existing": True})).one_or_none()


async def page(
    session: AsyncSession,
    api_key_id: str,
    *,
    statuses: Collection[str],
    catalogue: str | None = None,
    before: str | None,
    limit: int,
) -> Sequence[Batch]:
    """Return batches of a key, newest first, created before the batch with the id `before`; ids sort by time."""
    statement = select(Batch).where(Batch.api_key_id == api_key_id, col(Batch.deleted_at).is_(None))
    if statuses:
        statement = statement.where(col(Batch.status).in_(statuses))
    if catalogue is not None:
        statement = statement.where(literal_column(VERSIONS), col(Batch.catalogue) == catalogue)
    if before is not None:
        statement = statement.where(col(Batch.id) < before)
    return (await session.exec(statement.order_by(col(Batch.id).desc()).limit(limit))).all()


async def move(session: AsyncSession, batch_id: str, target: BatchStatus, **values: Any) -> bool:
    """Move the batch to `target` if BATCH_MOVES allows it from its current status; return whether it moved."""
    result = await session.exec(
        update(Batch)
        .where(col(Batch.id) == batch_id, col(Batch.status).in_(BATCH_MOVES[target]))
        .values(status=target, version=Batch.version + 1, **values)
    )
    return bool(result.rowcount)


async def begin_change(session: AsyncSession, batch_id: str, change: str) -> None:
    """Record that `change` of a locked batch is in progress, instead of any other."""
    statement = update(Batch).where(col(Batch.id) == batch_id)
    await session.exec(statement.values(change=change, version=Batch.version + 1))


async def end_change(session: AsyncSession, batch_id: str, change: str, *, round_number: int) -> None:
    """End the change in progress, if it is still `change` of that round."""
    statement = update(Batch).where(
        col(Batch.id) == batch_id, col(Batch.change) == change, col(Batch.round) == round_number
    )
    await session.exec(statement.values(change=None, version=Batch.version + 1))


async def changing(session: AsyncSession, *, limit: int = 1_000) -> Sequence[str]:
    """Return the batches with a change in progress."""
    return (await session.exec(select(Batch.id).where(literal_column(CHANGING_BATCHES)).limit(limit))).all()


async def open_work(session: AsyncSession, api_key_id: str) -> tuple[int, int]:
    """Return the number of a key's open batches, and of their unfinished assets."""
    ended = col(Batch.succeeded) + col(Batch.failed) + col(Batch.cancelled)
    statement = select(sa.func.count(), sa.func.coalesce(sa.func.sum(col(Batch.asset_count) - ended), 0)).where(
        literal_column(OPEN_BATCHES), Batch.api_key_id == api_key_id, col(Batch.deleted_at).is_(None)
    )
    batches, images = (await session.exec(statement)).one()
    return batches, int(images)


class BatchProgress(NamedTuple):
    """The fields of a batch that change while it runs, and its totals; named after their columns."""

    id: str
    version: int
    status: str
    product_count: int
    url_count: int
    asset_count: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int
    errors: dict[str, int]
    input_bytes: int
    output_bytes: int


_PROGRESS_COLUMNS = tuple(col(getattr(Batch, name)) for name in BatchProgress._fields)


async def progress(session: AsyncSession, batch_ids: Sequence[str]) -> dict[str, BatchProgress]:
    """Return the progress of these batches, without deleted ones, by id."""
    connection = await session.connection()
    statement = sa.select(*_PROGRESS_COLUMNS).where(col(Batch.id).in_(batch_ids), col(Batch.deleted_at).is_(None))
    return {row.id: BatchProgress(*row) for row in await connection.execute(statement)}


async def open_page(session: AsyncSession, *, after: str = "", limit: int = 1_000) -> list[tuple[str, str]]:
    """Return (id, API key id) of the next `limit` open batches after the id `after`, oldest first.

    Batches whose change is in progress are left out: no lane may process them.
    """
    connection = await session.connection()
    statement = sa.select(col(Batch.id), col(Batch.api_key_id)).where(
        literal_column(OPEN_BATCHES),
        col(Batch.deleted_at).is_(None),
        col(Batch.change).is_(None),
        col(Batch.id) > after,
    )
    rows = await connection.execute(statement.order_by(col(Batch.id)).limit(limit))
    return [(batch_id, api_key_id) for batch_id, api_key_id in rows]


_PRODUCT_COLUMNS = tuple(col(getattr(Product, name)) for name in ProductRow._fields)


async def products_page(
    session: AsyncSession, batch_id: str, *, after: int, limit: int, marked: bool = False
) -> list[ProductRow]:
    """Return the products after position `after`, in order; only those `marked` as new or changed if wanted."""
    connection = await session.connection()
    statement = sa.select(*_PRODUCT_COLUMNS).where(col(Product.batch_id) == batch_id, col(Product.position) > after)
    if marked:
        statement = statement.where(col(Product.change).is_not(None))
    rows = await connection.execute(statement.order_by(col(Product.position)).limit(limit))
    return [ProductRow(*row) for row in rows]


_SLOT_COLUMNS = tuple(col(getattr(Product, name)) for name in ProductSlots._fields)


async def slots_page(session: AsyncSession, batch_id: str, *, after: int, limit: int) -> list[ProductSlots]:
    """Return the slots of the products after position `after`, in order."""
    connection = await session.connection()
    statement = sa.select(*_SLOT_COLUMNS).where(col(Product.batch_id) == batch_id, col(Product.position) > after)
    rows = await connection.execute(statement.order_by(col(Product.position)).limit(limit))
    return [ProductSlots(*row) for row in rows]

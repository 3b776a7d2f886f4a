"""Statements on the versions of a catalogue: the version before a batch, and what changed since."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy import case, delete, literal_column, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import insert_or_ignore
from imgsvc.db.tables import VERSIONS, Batch, GoneProduct, Product
from imgsvc.domain.status import BatchStatus

COMPARE = "compare"
"""The `change` of a batch that is being compared."""
COMPARED_WITH = "compared_with"
_SHOPS_IMPORT = (BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_ERRORS)


async def begin(session: AsyncSession, batch_id: str) -> bool:
    """Begin to compare a batch whose row is locked; return False if it names no catalogue or is being changed."""
    found: tuple[sa.ColumnElement[bool], ...] = (
        col(Batch.id) == batch_id,
        literal_column(VERSIONS),
        col(Batch.change).is_(None),
    )
    values = {"change": COMPARE, "changes": None, "version": Batch.version + 1}
    return bool((await session.exec(update(Batch).where(*found).values(values))).rowcount)


async def lock(session: AsyncSession, batch_id: str, round_number: int) -> Batch | None:
    """Lock and return a batch that is being compared; None if that has ended, or is the one of another round."""
    statement = select(Batch).where(
        col(Batch.id) == batch_id,
        col(Batch.change) == COMPARE,
        col(Batch.round) == round_number,
        col(Batch.deleted_at).is_(None),
    )
    options = {"populate_existing": True}
    return (await session.exec(statement.with_for_update(), execution_options=options)).one_or_none()


async def earlier(session: AsyncSession, batch: Batch) -> Batch | None:
    """Return the newest version before `batch` that shops can have imported: it has ended, and with images."""
    statement = select(Batch).where(
        literal_column(VERSIONS),
        col(Batch.api_key_id) == batch.api_key_id,
        col(Batch.catalogue) == batch.catalogue,
        col(Batch.id) < batch.id,
        col(Batch.deleted_at).is_(None),
        col(Batch.status).in_(_SHOPS_IMPORT),
    )
    return (await session.exec(statement.order_by(col(Batch.id).desc()).limit(1))).one_or_none()


async def compare_with(session: AsyncSession, batch: Batch, earlier_id: str | None) -> None:
    """Record the version that a locked batch is compared with, and forget what another comparison found."""
    await session.exec(delete(GoneProduct).where(col(GoneProduct.batch_id) == batch.id))
    await session.exec(update(Batch).where(col(Batch.id) == batch.id).values(changes={COMPARED_WITH: earlier_id}))


async def mark(
    session: AsyncSession, batch_id: str, window: range, *, new: Collection[int], changed: Collection[int]
) -> None:
    """Mark the products at the positions of `window` as new or changed, and all others as unchanged."""
    position = col(Product.position)
    marks = case((position.in_(new), "new"), (position.in_(changed), "changed"), else_=None)
    statement = update(Product).where(
        col(Product.batch_id) == batch_id,
        position >= window.start,
        position < window.stop,
        col(Product.change).is_not(None) | position.in_([*new, *changed]),
    )
    await session.exec(statement.values(change=marks))


async def cells_at(session: AsyncSession, batch_id: str, positions: Sequence[int]) -> dict[int, list[str]]:
    """Return the cells of the products at these positions."""
    connection = await session.connection()
    statement = sa.select(col(Product.position), col(Product.cells)).where(
        col(Product.batch_id) == batch_id, col(Product.position).in_(positions)
    )
    return {row.position: row.cells for row in await connection.execute(statement)}


async def add_gone(session: AsyncSession, batch_id: str, rows: Sequence[tuple[int, list[str]]]) -> None:
    """Add (position, cells) of rows that only the earlier version has; those that are there stay."""
    values = [{"batch_id": batch_id, "position": position, "cells": cells} for position, cells in rows]
    connection = await session.connection()
    await connection.execute(insert_or_ignore(connection, GoneProduct), values)


async def gone_page(session: AsyncSession, batch_id: str, *, after: int, limit: int) -> list[tuple[int, list[str]]]:
    """Return (position, cells) of the rows that only the earlier version has, in its order."""
    connection = await session.connection()
    columns = sa.select(col(GoneProduct.position), col(GoneProduct.cells))
    statement = columns.where(col(GoneProduct.batch_id) == batch_id, col(GoneProduct.position) > after)
    rows = await connection.execute(statement.order_by(col(GoneProduct.position)).limit(limit))
    return [(position, cells) for position, cells in rows]

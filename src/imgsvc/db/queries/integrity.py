"""Statements of the integrity audit: totals of the rows of batches, and rows that contradict themselves.

Each reads many batches at once: most batches are small, and a statement costs as much as a hundred rows.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries.deliveries import DeliveryLog
from imgsvc.db.tables import Asset, Batch, Delivery, DeliveryAttempt, IdempotencyKey, Product
from imgsvc.domain.status import AssetStatus

PAGE = 1_000
"""Rows per query."""


class Span(NamedTuple):
    """A range of batch ids, both ends included."""

    first: str
    last: str


class AssetGroup(NamedTuple):
    """Totals of a batch's assets with the same status and error code."""

    batch_id: str
    status: str
    error_code: str | None
    assets: int
    input_bytes: int | None
    first_position: int
    last_position: int
    first_due: datetime
    last_change: datetime


class Contradiction(NamedTuple):
    """Assets of a batch whose columns contradict each other: how, how many, and the position of the first."""

    batch_id: str
    description: str
    assets: int
    position: int


R = TypeVar("R", AssetGroup, Contradiction)


async def batch_sizes(session: AsyncSession, *, after: str) -> list[tuple[str, int]]:
    """Return (id, assets) of one page of batches after the id `after`, in order, including deleted ones."""
    statement = sa.select(col(Batch.id), col(Batch.asset_count)).where(col(Batch.id) > after)
    connection = await session.connection()
    rows = await connection.execute(statement.order_by(col(Batch.id)).limit(PAGE))
    return [(batch_id, assets) for batch_id, assets in rows]


async def batches(session: AsyncSession, span: Span) -> Sequence[Batch]:
    """Return the batches of `span` in order, including deleted ones."""
    return (await session.exec(select(Batch).where(col(Batch.id).between(*span)).order_by(col(Batch.id)))).all()


async def batches_by_id(session: AsyncSession, batch_ids: Collection[str]) -> dict[str, Batch]:
    """Return the existing batches with these ids, including deleted ones."""
    found = await session.exec(select(Batch).where(col(Batch.id).in_(batch_ids)))
    return {batch.id: batch for batch in found}


async def asset_groups(session: AsyncSession, span: Span) -> dict[str, list[AssetGroup]]:
    """Return the totals of the assets by status and error code, for each batch."""
    group = (col(Asset.batch_id), col(Asset.status), col(Asset.error_code))
    statement = sa.select(
        *group,
        sa.func.count(),
        sa.func.sum(col(Asset.input_bytes)),
        sa.func.min(col(Asset.position)),
        sa.func.max(col(Asset.position)),
        sa.func.min(col(Asset.due_at)),
        sa.func.max(col(Asset.updated_at)),
    )
    connection = await session.connection()
    rows = await connection.execute(statement.where(col(Asset.batch_id).between(*span)).group_by(*group))
    return _by_batch(AssetGroup(*row) for row in rows)


def _by_batch(rows: Iterable[R]) -> dict[str, list[R]]:
    found = defaultdict(list)
    for row in rows:
        found[row.batch_id].append(row)
    return found


_STATUS, _CLAIM, _CODE = col(Asset.status), col(Asset.claim), col(Asset.error_code)
_FAILED_OR_CANCELLED = _STATUS.in_((AssetStatus.FAILED, AssetStatus.CANCELLED))
_RESULT_COLUMNS = (
    col(Asset.renditions),
    col(Asset.input_format),
    col(Asset.input_bytes),
    col(Asset.width),
    col(Asset.height),
)
_CONTRADICTION: sa.ColumnElement[str | None] = sa.case(
    ((_STATUS == AssetStatus.PROCESSING) & _CLAIM.is_(None), "processing without a claim"),
    ((_STATUS != AssetStatus.PROCESSING) & _CLAIM.is_not(None), "claimed without processing"),
    (_FAILED_OR_CANCELLED & _CODE.is_(None), "ended without an error code"),
    (~_FAILED_OR_CANCELLED & _CODE.is_not(None), "with an error code although they did not fail"),
    (
        (_STATUS != AssetStatus.SUCCEEDED) & sa.or_(*(column.is_not(None) for column in _RESULT_COLUMNS)),
        "with a rendition or image data although they did not succeed",
    ),
    (
        (_STATUS == AssetStatus.SUCCEEDED) & sa.or_(*(column.is_(None) for column in _RESULT_COLUMNS)),
        "succeeded without a rendition or without image data",
    ),
)


async def contradictions(session: AsyncSession, span: Span) -> dict[str, list[Contradiction]]:
    """Return the contradictions in the columns of assets, for each batch; at most one per asset, the first found."""
    # A subquery: Postgres does not recognize an expression with parameters as the one in GROUP BY.
    found = (
        sa.select(col(Asset.batch_id), _CONTRADICTION.label("what"), col(Asset.position))
        .where(col(Asset.batch_id).between(*span))
        .subquery()
    )
    group = (found.c.batch_id, found.c.what)
    statement = sa.select(*group, sa.func.count(), sa.func.min(found.c.position)).where(found.c.what.is_not(None))
    connection = await session.connection()
    rows = await connection.execute(statement.group_by(*group).order_by(*group))
    return _by_batch(Contradiction(*row) for row in rows)


async def slots(session: AsyncSession, span: Span) -> AsyncIterator[tuple[str, list[int]]]:
    """Yield (batch id, slots) of every product, reading a page at a time."""
    async for batch_id, _, found in _each(session, Product, col(Product.slots), span):
        yield batch_id, found


async def renditions(session: AsyncSession, span: Span) -> AsyncIterator[tuple[str, int, list[dict[str, Any]]]]:
    """Yield (batch id, position, renditions) of every succeeded asset, reading a page at a time."""
    has_succeeded = col(Asset.status) == AssetStatus.SUCCEEDED
    async for batch_id, position, found in _each(session, Asset, col(Asset.renditions), span, has_succeeded):
        yield batch_id, position, found or []


async def _each(
    session: AsyncSession, table: type[Product | Asset], wanted: Any, span: Span, *conditions: sa.ColumnElement[bool]
) -> AsyncIterator[tuple[str, int, Any]]:
    key = (col(table.batch_id), col(table.position))
    statement = sa.select(*key, wanted).where(key[0] <= span.last, *conditions).order_by(*key).limit(PAGE)
    connection = await session.connection()
    after = (span.first, -1)
    rows: Sequence[Any] = [None] * PAGE
    while len(rows) == PAGE:
        rows = (await connection.execute(statement.where(sa.tuple_(*key) > after))).all()
        for row in rows:
            yield row[0], row[1], row[2]
            after = (row[0], row[1])


async def deliveries(session: AsyncSession, span: Span) -> dict[str, list[DeliveryLog]]:
    """Return every delivery with its attempts, for each batch."""
    attempts = defaultdict(list)
    log = select(DeliveryAttempt).join(Delivery).where(col(Delivery.batch_id).between(*span))
    for attempt in await session.exec(log.order_by(col(DeliveryAttempt.number))):
        attempts[attempt.delivery_id].append(attempt)
    found = defaultdict(list)
    statement = select(Delivery).where(col(Delivery.batch_id).between(*span)).order_by(col(Delivery.round))
    for delivery in await session.exec(statement):
        found[delivery.batch_id].append(DeliveryLog(delivery, attempts[delivery.id]))
    return found


async def keys_without_batch(session: AsyncSession) -> list[tuple[str, str]]:
    """Return (idempotency key, batch id) of keys without a batch; deleting a batch removes its keys."""
    its_batch = sa.exists().where(col(Batch.id) == IdempotencyKey.batch_id, col(Batch.deleted_at).is_(None))
    connection = await session.connection()
    rows = await connection.execute(
        sa.select(col(IdempotencyKey.key), col(IdempotencyKey.batch_id)).where(~its_batch).limit(PAGE)
    )
    return [(key, batch_id) for key, batch_id in rows]

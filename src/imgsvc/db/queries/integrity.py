"""Statements that compare rows with rows: what the assets of batches add up to, and which of them cannot be right.

They look at many batches at once: most shops send small ones, and each statement costs as much as a hundred rows.
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
"""Rows of one answer."""


class Span(NamedTuple):
    """The batches from one id to another, both included."""

    first: str
    last: str


class AssetGroup(NamedTuple):
    """The assets of a batch with one status and one error code, taken together."""

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
    """Assets of a batch whose columns contradict each other: in what, how many, and one of them."""

    batch_id: str
    what: str
    assets: int
    position: int


R = TypeVar("R", AssetGroup, Contradiction)


async def batch_sizes(session: AsyncSession, *, after: str) -> list[tuple[str, int]]:
    """(id, assets) of some batches behind `after`, in order; deleted ones too while their row is there."""
    statement = sa.select(col(Batch.id), col(Batch.asset_count)).where(col(Batch.id) > after)
    connection = await session.connection()
    rows = await connection.execute(statement.order_by(col(Batch.id)).limit(PAGE))
    return [(batch_id, assets) for batch_id, assets in rows]


async def batches(session: AsyncSession, span: Span) -> Sequence[Batch]:
    """In order; deleted ones too."""
    return (await session.exec(select(Batch).where(col(Batch.id).between(*span)).order_by(col(Batch.id)))).all()


async def batches_by_id(session: AsyncSession, batch_ids: Collection[str]) -> dict[str, Batch]:
    """Those of these batches that have a row; deleted ones too."""
    found = await session.exec(select(Batch).where(col(Batch.id).in_(batch_ids)))
    return {batch.id: batch for batch in found}


async def asset_groups(session: AsyncSession, span: Span) -> dict[str, list[AssetGroup]]:
    """All assets by status and error code, for each batch."""
    kind = (col(Asset.batch_id), col(Asset.status), col(Asset.error_code))
    statement = sa.select(
        *kind,
        sa.func.count(),
        sa.func.sum(col(Asset.input_bytes)),
        sa.func.min(col(Asset.position)),
        sa.func.max(col(Asset.position)),
        sa.func.min(col(Asset.due_at)),
        sa.func.max(col(Asset.updated_at)),
    )
    connection = await session.connection()
    rows = await connection.execute(statement.where(col(Asset.batch_id).between(*span)).group_by(*kind))
    return _by_batch(AssetGroup(*row) for row in rows)


def _by_batch(rows: Iterable[R]) -> dict[str, list[R]]:
    found = defaultdict(list)
    for row in rows:
        found[row.batch_id].append(row)
    return found


_STATUS, _CLAIM, _CODE = col(Asset.status), col(Asset.claim), col(Asset.error_code)
_GAVE_UP = _STATUS.in_((AssetStatus.FAILED, AssetStatus.CANCELLED))
_FACTS = (col(Asset.renditions), col(Asset.input_format), col(Asset.input_bytes), col(Asset.width), col(Asset.height))
_ODD: sa.ColumnElement[str | None] = sa.case(
    ((_STATUS == AssetStatus.PROCESSING) & _CLAIM.is_(None), "processing without a claim"),
    ((_STATUS != AssetStatus.PROCESSING) & _CLAIM.is_not(None), "claimed without processing"),
    (_GAVE_UP & _CODE.is_(None), "ended without an error code"),
    (~_GAVE_UP & _CODE.is_not(None), "with an error code although they did not fail"),
    (
        (_STATUS != AssetStatus.SUCCEEDED) & sa.or_(*(fact.is_not(None) for fact in _FACTS)),
        "with a rendition, or its facts, although they did not succeed",
    ),
    (
        (_STATUS == AssetStatus.SUCCEEDED) & sa.or_(*(fact.is_(None) for fact in _FACTS)),
        "succeeded without a rendition, or without its facts",
    ),
)


async def contradictions(session: AsyncSession, span: Span) -> dict[str, list[Contradiction]]:
    """What is odd about single assets, for each batch; of several oddities of one asset the first."""
    # A subquery: Postgres does not see that an expression with parameters is the one that it is to group by.
    odd = (
        sa.select(col(Asset.batch_id), _ODD.label("what"), col(Asset.position))
        .where(col(Asset.batch_id).between(*span))
        .subquery()
    )
    kind = (odd.c.batch_id, odd.c.what)
    statement = sa.select(*kind, sa.func.count(), sa.func.min(odd.c.position)).where(odd.c.what.is_not(None))
    connection = await session.connection()
    rows = await connection.execute(statement.group_by(*kind).order_by(*kind))
    return _by_batch(Contradiction(*row) for row in rows)


async def slots(session: AsyncSession, span: Span) -> AsyncIterator[tuple[str, list[int]]]:
    """(batch id, slots) of every product, read a page at a time."""
    async for batch_id, _, found in _each(session, Product, col(Product.slots), span):
        yield batch_id, found


async def renditions(session: AsyncSession, span: Span) -> AsyncIterator[tuple[str, int, list[dict[str, Any]]]]:
    """(batch id, position, renditions) of every succeeded asset, read a page at a time."""
    is_done = col(Asset.status) == AssetStatus.SUCCEEDED
    async for batch_id, position, found in _each(session, Asset, col(Asset.renditions), span, is_done):
        yield batch_id, position, found or []


async def _each(
    session: AsyncSession, table: type[Product | Asset], wanted: Any, span: Span, *conditions: sa.ColumnElement[bool]
) -> AsyncIterator[tuple[str, int, Any]]:
    place = (col(table.batch_id), col(table.position))
    statement = sa.select(*place, wanted).where(place[0] <= span.last, *conditions).order_by(*place).limit(PAGE)
    connection = await session.connection()
    after = (span.first, -1)
    rows: Sequence[Any] = [None] * PAGE
    while len(rows) == PAGE:
        rows = (await connection.execute(statement.where(sa.tuple_(*place) > after))).all()
        for row in rows:
            yield row[0], row[1], row[2]
            after = (row[0], row[1])


async def deliveries(session: AsyncSession, span: Span) -> dict[str, list[DeliveryLog]]:
    """Every delivery with its log, for each batch."""
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
    """(idempotency key, batch id) where there is no such batch, or it is deleted: both would have gone together."""
    its_batch = sa.exists().where(col(Batch.id) == IdempotencyKey.batch_id, col(Batch.deleted_at).is_(None))
    connection = await session.connection()
    rows = await connection.execute(
        sa.select(col(IdempotencyKey.key), col(IdempotencyKey.batch_id)).where(~its_batch).limit(PAGE)
    )
    return [(key, batch_id) for key, batch_id in rows]

"""Statements on earlier results: find them by URL and settings, note new ones, forget those of deleted batches."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as insert_on_postgres
from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import Asset, Batch, Reusable


class PreviousResult(NamedTuple):
    """A succeeded asset: facts about the input, its renditions, and the origin's validators (RFC 9110 §8.8)."""

    reuse_hash: str
    input_format: str
    width: int
    height: int
    input_bytes: int
    renditions: list[dict[str, Any]]
    etag: str | None
    last_modified: str | None
    final_url_hash: str


class Result(NamedTuple):
    """A new result of a batch: the asset that has it, and its hash (None: it cannot be reused)."""

    position: int
    reuse_hash: str | None


_COLUMNS = tuple(col(getattr(Asset, name)) for name in PreviousResult._fields)


def _note(insert: Callable[[type[Reusable]], Any]) -> Any:
    statement = insert(Reusable)
    newer = {"batch_id": statement.excluded.batch_id, "position": statement.excluded.position}
    is_newer = col(Reusable.batch_id) <= statement.excluded.batch_id
    return statement.on_conflict_do_update(index_elements=[col(Reusable.hash)], set_=newer, where=is_newer)


_NOTE_ON_SQLITE, _NOTE_ON_POSTGRES = _note(insert_on_sqlite), _note(insert_on_postgres)
_SLICE = 500
"""Values per statement, well below the limit of variables."""


def _key(reuse_hash: str) -> bytes:
    """Return the first 128 bits: enough, as an attacker cannot choose the other key's part of the hash."""
    return bytes.fromhex(reuse_hash)[:16]


async def previous_results(session: AsyncSession, hashes: Collection[str]) -> Mapping[str, PreviousResult]:
    """Return the newest noted result for each of `hashes`, by hash; none of deleted batches.

    Whether the batch is deleted is not asked in SQL: without statistics, Postgres expects one of 200 rows to be NULL,
    and read all batches, with the assets of each.
    """
    found: dict[str, PreviousResult] = {}
    keys = [_key(each) for each in hashes]
    asset = sa.and_(col(Asset.batch_id) == Reusable.batch_id, col(Asset.position) == Reusable.position)
    statement = (
        sa.select(*_COLUMNS, col(Batch.deleted_at))
        .select_from(Reusable)
        .join(Asset, asset)
        .join(Batch, col(Batch.id) == Asset.batch_id)
    )
    connection = await session.connection()
    for start in range(0, len(keys), _SLICE):
        rows = await connection.execute(statement.where(col(Reusable.hash).in_(keys[start : start + _SLICE])))
        found.update((row.reuse_hash, PreviousResult(*row[:-1])) for row in rows if row.deleted_at is None)
    return {each: found[each] for each in hashes if each in found}


async def note_results(session: AsyncSession, batch_id: str, results: Iterable[Result]) -> None:
    """Note results for later batches, in place of those of older batches. Idempotent.

    The rows are locked in the order of their hashes, so that two batches of the same images do not deadlock.
    """
    noted = sorted((_key(each), position) for position, each in results if each)
    if noted:
        rows = [{"hash": key, "batch_id": batch_id, "position": position} for key, position in noted]
        connection = await session.connection()
        await connection.execute(_NOTE_ON_SQLITE if connection.dialect.name == "sqlite" else _NOTE_ON_POSTGRES, rows)


async def forget(session: AsyncSession, batch_id: str, hashes: Collection[str]) -> None:
    """Forget the results of a deleted batch with these hashes; those noted by other batches remain."""
    keys = sorted(_key(each) for each in hashes)
    connection = await session.connection()
    for start in range(0, len(keys), _SLICE):
        some = col(Reusable.hash).in_(keys[start : start + _SLICE])
        await connection.execute(sa.delete(Reusable).where(some, col(Reusable.batch_id) == batch_id))

"""Statements on earlier results: find them by URL and settings, note new ones, forget those of deleted batches."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import is_postgres
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
    final_url_hash: str | None

    @property
    def has_validator(self) -> bool:
        return bool(self.etag or self.last_modified)


class Result(NamedTuple):
    """A new result of a batch: the asset that has it, and its hash (None: it cannot be reused)."""

    position: int
    reuse_hash: str | None


_COLUMNS = tuple(col(getattr(Asset, name)) for name in PreviousResult._fields)


_SLICE = 500
"""Values per statement, well below the limit of variables."""


def _key(reuse_hash: str) -> bytes:
    """Return the first 128 bits: enough, as an attacker cannot choose the other key's part of the hash."""
    return bytes.fromhex(reuse_hash)[:16]


# Built once: SQLAlchemy would take longer to build them for each flush than the database takes to run them. On Postgres
# the hashes are one array, so that the statement is the same for any number of them.
_HASHES = bindparam("hashes", type_=postgresql.ARRAY(sa.LargeBinary))
_FIND = (
    sa.select(*_COLUMNS, col(Batch.deleted_at))
    .select_from(Reusable)
    .join(Asset, sa.and_(col(Asset.batch_id) == Reusable.batch_id, col(Asset.position) == Reusable.position))
    .join(Batch, col(Batch.id) == Asset.batch_id)
)
_FIND_ON_POSTGRES = _FIND.where(col(Reusable.hash) == sa.any_(_HASHES))
_NEWER = """
    ON CONFLICT (hash) DO UPDATE SET batch_id = excluded.batch_id, position = excluded.position
    WHERE reusable.batch_id <= excluded.batch_id
"""
_NOTE_ON_POSTGRES = sa.text(f"""
    INSERT INTO reusable (hash, batch_id, position)
    SELECT hash, CAST(:batch_id AS varchar), position FROM unnest(:hashes, :positions) AS result (hash, position)
    {_NEWER}
""").bindparams(_HASHES, bindparam("positions", type_=postgresql.ARRAY(sa.Integer)))  # noqa: S608  # a constant
_NOTE_ON_SQLITE = sa.text(f"INSERT INTO reusable VALUES (:hash, :batch_id, :position) {_NEWER}")  # noqa: S608  # as above


async def previous_results(session: AsyncSession, hashes: Collection[str]) -> Mapping[str, PreviousResult]:
    """Return the newest noted result for each of `hashes`, by hash; none of deleted batches.

    Whether the batch is deleted is not asked in SQL: without statistics, Postgres expects one of 200 rows to be NULL,
    and read all batches, with the assets of each.
    """
    found: dict[str, PreviousResult] = {}
    keys = [_key(each) for each in hashes]
    connection = await session.connection()
    for start in range(0, len(keys), _SLICE):
        some = keys[start : start + _SLICE]
        if is_postgres(connection):
            rows = await connection.execute(_FIND_ON_POSTGRES, {"hashes": some})
        else:
            rows = await connection.execute(_FIND.where(col(Reusable.hash).in_(some)))
        found.update((row.reuse_hash, PreviousResult(*row[:-1])) for row in rows if row.deleted_at is None)
    return {each: found[each] for each in hashes if each in found}


async def note_results(session: AsyncSession, batch_id: str, results: Iterable[Result]) -> None:
    """Note results for later batches, in place of those of older batches. Idempotent.

    The rows are locked in the order of their hashes, so that two batches of the same images do not deadlock.
    """
    noted = sorted((_key(each), position) for position, each in results if each)
    if not noted:
        return
    connection = await session.connection()
    if is_postgres(connection):
        keys, positions = zip(*noted, strict=True)
        values = {"batch_id": batch_id, "hashes": list(keys), "positions": list(positions)}
        await connection.execute(_NOTE_ON_POSTGRES, values)
        return
    rows = [{"hash": key, "batch_id": batch_id, "position": position} for key, position in noted]
    await connection.execute(_NOTE_ON_SQLITE, rows)


async def forget(session: AsyncSession, batch_id: str, hashes: Collection[str]) -> None:
    """Forget the results of a deleted batch with these hashes; those noted by other batches remain."""
    keys = sorted(_key(each) for each in hashes)
    connection = await session.connection()
    for start in range(0, len(keys), _SLICE):
        some = col(Reusable.hash).in_(keys[start : start + _SLICE])
        await connection.execute(sa.delete(Reusable).where(some, col(Reusable.batch_id) == batch_id))

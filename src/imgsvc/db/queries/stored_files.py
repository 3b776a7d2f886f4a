"""Statements on stored files: which batches name them, and which are being removed.

A file is removed once no batch names it. A worker may be storing the same bytes meanwhile, under the same key: hence
each removal is recorded, and a flush that would name a file removed since it was stored is refused (ADR 15).
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import is_postgres
from imgsvc.db.tables import ApiKey, Asset, Batch, FileRemoval, StoredFile
from imgsvc.domain.media_keys import key_hash
from imgsvc.domain.status import AssetStatus

_SLICE = 500
"""Values per statement, well below the limit of variables."""
_HASHES = bindparam("hashes", type_=postgresql.ARRAY(sa.LargeBinary))


class NamedFile(NamedTuple):
    """A stored file, and a batch that names it: the first of its assets with this file."""

    hash: bytes
    batch_id: str
    position: int


async def lock(session: AsyncSession, api_key_id: str, *, shared: bool) -> None:
    """Lock the stored files of a key until the transaction ends: shared to name some, else to remove some.

    SQLite has one writer anyway. Statements after this one see what the transactions that it waited for have written.
    """
    connection = await session.connection()
    if is_postgres(connection):
        function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        await connection.execute(sa.text(f"SELECT {function}(hashtextextended(:key, 0))"), {"key": api_key_id})


async def note_files(session: AsyncSession, batch_id: str, files: Iterable[tuple[str, int]]) -> None:
    """Note that a batch names these files, given by key and the position of an asset. Idempotent."""
    rows = sorted({key_hash(key): position for key, position in files}.items())
    if not rows:
        return
    connection = await session.connection()
    if is_postgres(connection):
        hashes, positions = zip(*rows, strict=True)
        await connection.execute(
            _NOTE_ON_POSTGRES, {"batch_id": batch_id, "hashes": list(hashes), "positions": list(positions)}
        )
        return
    values = [{"hash": each, "batch_id": batch_id, "position": position} for each, position in rows]
    await connection.execute(_NOTE_ON_SQLITE, values)


_NOTE_ON_POSTGRES = sa.text("""
    INSERT INTO stored_file (hash, batch_id, position)
    SELECT hash, CAST(:batch_id AS varchar), position FROM unnest(:hashes, :positions) AS file (hash, position)
    ON CONFLICT DO NOTHING
""").bindparams(_HASHES, bindparam("positions", type_=postgresql.ARRAY(sa.Integer)))
_NOTE_ON_SQLITE = sa.text("INSERT INTO stored_file VALUES (:hash, :batch_id, :position) ON CONFLICT DO NOTHING")


async def forget_batch(session: AsyncSession, batch_id: str, keys: Collection[str]) -> None:
    """Note that a deleted batch no longer names the files `keys`."""
    for some in hash_slices(keys):
        statement = sa.delete(StoredFile).where(col(StoredFile.hash).in_(some), col(StoredFile.batch_id) == batch_id)
        await session.exec(statement)


async def unnamed(session: AsyncSession, keys: Collection[str]) -> list[str]:
    """Return those of `keys` that no existing batch names, in order; a deleted batch names its files until the end."""
    hashes: set[bytes] = set()
    connection = await session.connection()
    for some in hash_slices(keys):
        statement = sa.select(col(StoredFile.hash)).join(Batch, col(Batch.id) == StoredFile.batch_id)
        hashes.update((await connection.execute(statement.where(col(StoredFile.hash).in_(some)))).scalars())
    return [key for key in keys if key_hash(key) not in hashes]


async def begin_removal(session: AsyncSession, api_key_id: str, keys: Collection[str], now: datetime) -> None:
    """Record that the files `keys`, which no existing batch names, are being removed."""
    hashes = {key_hash(key): key for key in keys}
    for some in _slices(list(hashes)):
        await session.exec(sa.delete(FileRemoval).where(col(FileRemoval.hash).in_(some)))
        await session.exec(sa.delete(StoredFile).where(col(StoredFile.hash).in_(some)))  # of batches removed by others
        rows = [{"hash": each, "key": hashes[each], "api_key_id": api_key_id, "began_at": now} for each in some]
        await session.exec(sa.insert(FileRemoval), params=rows)


async def end_removal(session: AsyncSession, api_key_id: str, keys: Collection[str], began_at: datetime) -> None:
    """Number the finished removal of the files `keys`: lanes that read a smaller number may have stored them before.

    One that another process has begun again since is left to that process.
    """
    number = await _count_removal(session, api_key_id)
    for some in hash_slices(keys):
        removal = (col(FileRemoval.hash).in_(some), col(FileRemoval.began_at) == began_at)
        await session.exec(sa.update(FileRemoval).where(*removal).values(number=number))


async def _count_removal(session: AsyncSession, api_key_id: str) -> int:
    connection = await session.connection()
    statement = sa.update(ApiKey).where(col(ApiKey.id) == api_key_id).values(removals=ApiKey.removals + 1)
    return int((await connection.execute(statement.returning(col(ApiKey.removals)))).scalar_one())


async def removed_since(session: AsyncSession, keys: Collection[str], number: int) -> set[str]:
    """Return those of `keys` whose removal is in progress, or ended after the removal with this number."""
    found: set[bytes] = set()
    connection = await session.connection()
    for some in hash_slices(keys):
        statement = sa.select(col(FileRemoval.hash)).where(
            col(FileRemoval.hash).in_(some), sa.func.coalesce(FileRemoval.number, number + 1) > number
        )
        found.update((await connection.execute(statement)).scalars())
    return {key for key in keys if key_hash(key) in found} if found else set()


async def interrupted_removals(session: AsyncSession, until: datetime, *, limit: int) -> list[tuple[str, str]]:
    """Return (API key id, key) of files whose removal began before `until` and has not ended."""
    connection = await session.connection()
    statement = sa.select(col(FileRemoval.api_key_id), col(FileRemoval.key)).where(
        col(FileRemoval.number).is_(None), col(FileRemoval.began_at) <= until
    )
    rows = await connection.execute(statement.order_by(col(FileRemoval.began_at)).limit(limit))
    return [(api_key_id, key) for api_key_id, key in rows]


async def any_removal_until(session: AsyncSession, until: datetime) -> bool:
    """Return whether `forget_removals` would find any."""
    statement = sa.select(sa.exists().where(*_forgettable(until)))
    connection = await session.connection()
    return bool((await connection.execute(statement)).scalar_one())


def _forgettable(until: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(FileRemoval.number).is_not(None), col(FileRemoval.began_at) <= until)


async def forget_removals(session: AsyncSession, until: datetime) -> None:
    """Forget the finished removals that began before `until`: no run that stored a file then can still name it."""
    await session.exec(sa.delete(FileRemoval).where(*_forgettable(until)))


async def find(session: AsyncSession, keys: Collection[str]) -> dict[str, list[NamedFile]]:
    """Return the batches that name each of the files `keys`, without deleted batches."""
    found: dict[bytes, list[NamedFile]] = {}
    connection = await session.connection()
    columns = (col(StoredFile.hash), col(StoredFile.batch_id), col(StoredFile.position))
    for some in hash_slices(keys):
        statement = sa.select(*columns).join(Batch, col(Batch.id) == StoredFile.batch_id)
        statement = statement.where(col(StoredFile.hash).in_(some), col(Batch.deleted_at).is_(None))
        for row in await connection.execute(statement):
            found.setdefault(row.hash, []).append(NamedFile(*row))
    return {key: found[each] for key in keys if (each := key_hash(key)) in found}


async def may_have_left_files(session: AsyncSession, batch_id: str) -> bool:
    """Return whether a run of the batch may have stored files that no asset names: it died, or was too late."""
    interrupted = (
        (col(Asset.lost) > 0) | (col(Asset.storage_failures) > 0) | (col(Asset.status) == AssetStatus.CANCELLED)
    )
    statement = sa.select(sa.exists().where(col(Asset.batch_id) == batch_id, interrupted))
    connection = await session.connection()
    return bool((await connection.execute(statement)).scalar_one())


def hash_slices(keys: Collection[str]) -> Iterable[Sequence[bytes]]:
    return _slices([key_hash(key) for key in keys])


def _slices(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _SLICE] for start in range(0, len(values), _SLICE))

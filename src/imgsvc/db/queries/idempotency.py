"""Statements on idempotency keys: clients' names for their uploads."""

from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import insert_or_ignore
from imgsvc.db.tables import IdempotencyKey

KEY_TTL = timedelta(hours=24)
"""Lifetime of a key."""


class StoredKey(NamedTuple):
    """The upload and batch that a key was used for."""

    fingerprint: str
    batch_id: str


async def find(session: AsyncSession, api_key_id: str, key: str, *, since: datetime) -> StoredKey | None:
    """Return the use of `key` after `since`, if any."""
    connection = await session.connection()
    statement = sa.select(col(IdempotencyKey.fingerprint), col(IdempotencyKey.batch_id)).where(
        *_is_key(api_key_id, key), col(IdempotencyKey.created_at) > since
    )
    row = (await connection.execute(statement)).one_or_none()
    return StoredKey(*row) if row else None


async def reserve(session: AsyncSession, row: IdempotencyKey, *, since: datetime) -> bool:
    """Insert the key unless it was used after `since`; return whether it was inserted.

    On Postgres this waits for a concurrent transaction that inserts the same key.
    """
    await session.exec(
        delete(IdempotencyKey).where(*_is_key(row.api_key_id, row.key), col(IdempotencyKey.created_at) <= since)
    )
    connection = await session.connection()
    statement = insert_or_ignore(connection, IdempotencyKey).values(row.model_dump())
    return bool((await connection.execute(statement)).rowcount)


async def any_created_until(session: AsyncSession, until: datetime) -> bool:
    """Return whether any key was created at or before `until`."""
    statement = select(IdempotencyKey.key).where(col(IdempotencyKey.created_at) <= until)
    return (await session.exec(statement.limit(1))).first() is not None


async def delete_created_until(session: AsyncSession, until: datetime) -> None:
    """Delete the keys created at or before `until`."""
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) <= until))


def _is_key(api_key_id: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(IdempotencyKey.api_key_id) == api_key_id, col(IdempotencyKey.key) == key)

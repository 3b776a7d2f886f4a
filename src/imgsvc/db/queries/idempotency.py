"""Statements on idempotency keys: the clients' own names for their uploads."""

from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import IdempotencyKey

KEY_TTL = timedelta(hours=24)
"""How long a key keeps its meaning."""


class StoredKey(NamedTuple):
    """What a key was used for."""

    fingerprint: str
    batch_id: str


async def find(session: AsyncSession, api_key_id: str, key: str, *, since: datetime) -> StoredKey | None:
    """What `key` was used for since then."""
    connection = await session.connection()
    statement = sa.select(col(IdempotencyKey.fingerprint), col(IdempotencyKey.batch_id)).where(
        *_named(api_key_id, key), col(IdempotencyKey.created_at) > since
    )
    row = (await connection.execute(statement)).one_or_none()
    return StoredKey(*row) if row else None


async def reserve(session: AsyncSession, row: IdempotencyKey, *, since: datetime) -> bool:
    """Write down the key unless it was used since then; on Postgres this waits for whoever is just writing it."""
    await session.exec(
        delete(IdempotencyKey).where(*_named(row.api_key_id, row.key), col(IdempotencyKey.created_at) <= since)
    )
    connection = await session.connection()
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(IdempotencyKey).values(row.model_dump()).on_conflict_do_nothing()
    return bool((await connection.execute(statement)).rowcount)


async def any_created_by(session: AsyncSession, until: datetime) -> bool:
    """Whether there are keys that are older than that."""
    statement = select(IdempotencyKey.key).where(col(IdempotencyKey.created_at) <= until)
    return (await session.exec(statement.limit(1))).first() is not None


async def delete_created_by(session: AsyncSession, until: datetime) -> None:
    """Remove the keys that are older than that."""
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) <= until))


def _named(api_key_id: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(IdempotencyKey.api_key_id) == api_key_id, col(IdempotencyKey.key) == key)

"""Statements on API keys."""

from collections.abc import Collection, Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import ApiKey, Batch

LOCAL_KEY = "key_local"
"""Owns everything created without a key; the first migration inserts it, with a webhook secret and without a token."""


async def get(session: AsyncSession, key_id: str) -> ApiKey | None:
    return await session.get(ApiKey, key_id)


async def lock(session: AsyncSession, key_id: str) -> ApiKey | None:
    """Lock a key for a change that depends on its row, without blocking uploads, whose foreign keys refer to it."""
    statement = select(ApiKey).where(ApiKey.id == key_id).with_for_update(key_share=True)
    return (await session.exec(statement, execution_options={"populate_existing": True})).one_or_none()


async def owner_of(session: AsyncSession, batch_id: str) -> ApiKey:
    """Return the key that a batch belongs to."""
    statement = select(ApiKey).join(Batch, col(Batch.api_key_id) == ApiKey.id).where(Batch.id == batch_id)
    return (await session.exec(statement)).one()


async def media_folders(session: AsyncSession, key_ids: Collection[str]) -> dict[str, str | None]:
    """Return the folder of the images of each key."""
    found = await session.exec(select(ApiKey.id, ApiKey.media_folder).where(col(ApiKey.id).in_(key_ids)))
    return dict(found.all())


async def list_created(session: AsyncSession) -> Sequence[ApiKey]:
    """Return every key except the local one, including revoked keys, oldest first."""
    statement = select(ApiKey).where(col(ApiKey.secret_hash).is_not(None)).order_by(col(ApiKey.id))
    return (await session.exec(statement)).all()

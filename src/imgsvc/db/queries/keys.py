"""Statements on API keys."""

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import ApiKey

LOCAL_KEY = "key_local"
"""Owns what is made without keys; the first migration inserts it, without a webhook secret."""


async def get(session: AsyncSession, key_id: str) -> ApiKey | None:
    return await session.get(ApiKey, key_id)

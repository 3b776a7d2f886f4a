"""Statements on the catalogues that the service fetched itself, and on the files that were read from them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import literal_column
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import VERSIONS, Asset, Batch


async def newest(
    session: AsyncSession, api_key_id: str, catalogue: str, *, limit: int
) -> list[tuple[str, dict[str, Any] | None]]:
    """Return the id and the source of a key's last batches of `catalogue`, newest first, without deleted ones."""
    connection = await session.connection()
    statement = sa.select(col(Batch.id), col(Batch.source)).where(
        literal_column(VERSIONS),
        col(Batch.api_key_id) == api_key_id,
        col(Batch.catalogue) == catalogue,
        col(Batch.deleted_at).is_(None),
    )
    rows = await connection.execute(statement.order_by(col(Batch.id).desc()).limit(limit))
    return [(batch_id, source) for batch_id, source in rows]


async def urls_page(session: AsyncSession, batch_id: str, *, after: int, limit: int) -> list[tuple[int, str]]:
    """Return the positions and the URLs of the assets after position `after`, in order."""
    connection = await session.connection()
    statement = sa.select(col(Asset.position), col(Asset.origin_url)).where(
        col(Asset.batch_id) == batch_id, col(Asset.position) > after
    )
    rows = await connection.execute(statement.order_by(col(Asset.position)).limit(limit))
    return [(position, url) for position, url in rows]

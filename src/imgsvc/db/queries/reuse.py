"""The statement that finds earlier results of the same URLs."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.tables import Asset, Batch


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


_COLUMNS = tuple(col(getattr(Asset, name)) for name in PreviousResult._fields)


async def previous_results(session: AsyncSession, hashes: Collection[str]) -> Mapping[str, PreviousResult]:
    """Return the newest asset for each of `hashes`, by hash.

    Assets of deleted batches are excluded, and so are assets written before `final_url_hash` existed: their validators
    may belong to the target of a redirect, and must not be sent to any other URL.
    """
    if not hashes:
        return {}
    newest = (
        sa.select(col(Asset.reuse_hash), sa.func.max(col(Asset.batch_id)).label("batch_id"))
        .join(Batch, col(Batch.id) == col(Asset.batch_id))
        .where(
            col(Asset.reuse_hash).in_(hashes), col(Asset.final_url_hash).is_not(None), col(Batch.deleted_at).is_(None)
        )
        .group_by(col(Asset.reuse_hash))
        .subquery()
    )
    is_newest = sa.and_(col(Asset.batch_id) == newest.c.batch_id, col(Asset.reuse_hash) == newest.c.reuse_hash)
    connection = await session.connection()
    rows = await connection.execute(sa.select(*_COLUMNS).join(newest, is_newest))
    return {row.reuse_hash: PreviousResult(*row) for row in rows}

"""Statements of the integrity audit on stored files."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import literal_column
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries.stored_files import NamedFile, hash_slices
from imgsvc.db.tables import OPEN_BATCHES, ApiKey, Asset, Batch, FileRemoval, StoredFile
from imgsvc.domain.media_keys import key_hash
from imgsvc.domain.status import AssetStatus

MAX_FILES = 1_000
"""Contradicting files per audit."""


async def in_removal(session: AsyncSession, keys: Collection[str], since: datetime) -> set[str]:
    """Return those of `keys` whose removal has begun after `since`."""
    found: set[bytes] = set()
    connection = await session.connection()
    for some in hash_slices(keys):
        began = (col(FileRemoval.hash).in_(some), col(FileRemoval.began_at) > since)
        found.update((await connection.execute(sa.select(col(FileRemoval.hash)).where(*began))).scalars())
    return {key for key in keys if key_hash(key) in found} if found else set()


async def unnoted(session: AsyncSession, batch_id: str, keys: Collection[str]) -> list[str]:
    """Return those of `keys` that are not noted as files of the batch."""
    found: set[bytes] = set()
    connection = await session.connection()
    for some in hash_slices(keys):
        noted = (col(StoredFile.hash).in_(some), col(StoredFile.batch_id) == batch_id)
        found.update((await connection.execute(sa.select(col(StoredFile.hash)).where(*noted))).scalars())
    return [key for key in keys if key_hash(key) not in found]


async def files_without_asset(session: AsyncSession) -> list[NamedFile]:
    """Return the files that a batch names, but whose asset does not exist or has not succeeded; at most 1,000.

    Files of a batch that an earlier version removed are not among them: they are leftovers.
    """
    its_asset = sa.exists().where(
        col(Asset.batch_id) == StoredFile.batch_id,
        col(Asset.position) == StoredFile.position,
        col(Asset.status) == AssetStatus.SUCCEEDED,
    )
    connection = await session.connection()
    columns = (col(StoredFile.hash), col(StoredFile.batch_id), col(StoredFile.position))
    statement = sa.select(*columns).join(Batch, col(Batch.id) == StoredFile.batch_id)
    wrong = statement.where(col(Batch.deleted_at).is_(None), ~its_asset).limit(MAX_FILES)
    return [NamedFile(*row) for row in await connection.execute(wrong)]


async def folders_with_clean_up(session: AsyncSession, until: datetime) -> set[str]:
    """Return the folders, of API keys and of batches, that a batch still uses, or that its clean-up will compare.

    A clean-up that was due before `until` is overdue.
    """
    uses = literal_column(OPEN_BATCHES) | (col(Batch.tidy_at) >= until)
    columns = (col(Batch.id), col(ApiKey.media_folder))
    statement = sa.select(*columns).join(ApiKey, col(ApiKey.id) == Batch.api_key_id).where(uses)
    connection = await session.connection()
    return {folder for row in await connection.execute(statement) for folder in row if folder}

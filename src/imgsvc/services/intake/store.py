"""Store the rows of a batch: in the caller's transaction, or if there are many, in several, hidden until the end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as queries
from imgsvc.db.queries import deletions
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.domain.manifest.read_csv import Manifest
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.clock import Clock
from imgsvc.services.intake.upload import asset_rows, product_rows

ROWS_AT_ONCE = 50_000
"""Rows per transaction. SQLite takes a second for them, during which nothing else can be written; a million URLs in one
transaction made other uploads and the lanes fail."""
HIDDEN_FOR = timedelta(hours=1)
"""Time after which a clean-up removes a batch that is still hidden: its process has died."""
_CLOCKS_DIFFER = timedelta(minutes=5)


async def store(session: AsyncSession, batch: Batch, manifest: Manifest, *, now: datetime) -> None:
    """Insert the batch and its rows in the transaction of `session`."""
    session.add(batch)
    await session.flush()
    await queries.insert_rows(session, Product, product_rows(batch.id, manifest))
    await queries.insert_rows(session, Asset, asset_rows(batch, manifest, now))


async def store_hidden(batch: Batch, manifest: Manifest, *, sessions: Sessions, now: datetime) -> None:
    """Insert the batch and its rows in transactions of `ROWS_AT_ONCE` rows.

    Until it is shown, it is a deleted batch with a scheduled clean-up: nothing returns it, and no lane processes it.
    """
    batch.deleted_at, batch.tidy_at = now, now + HIDDEN_FOR
    async with sessions.write() as session:
        session.add(batch)
    for number, (table, rows) in enumerate(_portions(batch, manifest, now)):
        if number:
            await sessions.give_way()
        async with sessions.write() as session:
            await queries.insert_rows(session, table, rows)


def _portions(
    batch: Batch, manifest: Manifest, now: datetime
) -> Iterator[tuple[type[Product | Asset], Iterator[dict[str, Any]]]]:
    """Yield the rows of the batch by transaction."""
    products, assets = product_rows(batch.id, manifest), asset_rows(batch, manifest, now)
    for _ in range(0, len(manifest.products), ROWS_AT_ONCE):
        yield Product, islice(products, ROWS_AT_ONCE)
    for _ in range(0, len(manifest.assets), ROWS_AT_ONCE):
        yield Asset, islice(assets, ROWS_AT_ONCE)


async def discard(batch_id: str, *, sessions: Sessions, now: datetime) -> None:
    """Let the clean-up remove a batch that `store_hidden` has stored and that will not be shown."""
    async with sessions.write() as session:
        await deletions.schedule_clean_up(session, batch_id, seen=now + HIDDEN_FOR, next_at=now)


async def show(session: AsyncSession, batch: Batch, *, clock: Clock) -> None:
    """Show a batch that `store_hidden` has stored.

    Raises:
        DatabaseUnavailable: storing took so long that the clean-up may have begun.
    """
    if not await queries.show(session, batch.id, now=clock() + _CLOCKS_DIFFER):
        raise DatabaseUnavailable(f"storing {batch.id} took almost {HIDDEN_FOR}")

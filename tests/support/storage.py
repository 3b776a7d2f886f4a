"""What lies in the storage and in the tables, and a storage where something happens meanwhile."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from sqlmodel import col, func, select

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Asset, Batch, Delivery, DeliveryAttempt, Product
from imgsvc.services.ports import Stored

NO_ROWS = {"batch": 0, "product": 0, "asset": 0, "delivery": 0, "attempt": 0}


def media(parts: Resources) -> Path:
    """The folder of the storage."""
    return parts.settings.data_dir / "media"


async def put(parts: Resources, *keys: str, age: float = 0) -> None:
    """Store a file under each key, written `age` seconds ago by the tests' clock."""
    written = parts.clock().timestamp() - age
    for key in keys:
        await parts.storage.put(key, b"rendition", media_type="image/jpeg")
        os.utime(media(parts) / key, (written, written))


def stored(parts: Resources) -> set[str]:
    """The keys of all files."""
    return {path.relative_to(media(parts)).as_posix() for path in media(parts).rglob("*") if path.is_file()}


async def rows_of(parts: Resources, batch_id: str) -> dict[str, int]:
    """How many rows of the batch each table has."""
    its = select(Delivery.id).where(Delivery.batch_id == batch_id)
    counts = {
        "batch": select(func.count()).where(Batch.id == batch_id),
        "product": select(func.count()).where(Product.batch_id == batch_id),
        "asset": select(func.count()).where(Asset.batch_id == batch_id),
        "delivery": select(func.count()).where(Delivery.batch_id == batch_id),
        "attempt": select(func.count()).where(col(DeliveryAttempt.delivery_id).in_(its)),
    }
    async with parts.sessions.read() as session:
        return {table: (await session.exec(count)).one() for table, count in counts.items()}


class EventfulInventory:
    """The port Inventory; something happens each time before a page is listed, and before files are removed."""

    def __init__(
        self,
        parts: Resources,
        *,
        listing: Callable[[], Awaitable[object]] | None = None,
        removing: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._storage, self._listing, self._removing = parts.storage, listing, removing

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        if self._listing:
            await self._listing()
        async for page in self._storage.list(prefix):
            yield page

    async def remove(self, keys: Sequence[str]) -> None:
        if self._removing:
            await self._removing()
        await self._storage.remove(keys)

"""The contents of the storage and of the tables, and an inventory that runs code between its calls."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from sqlmodel import col, func, select

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import api_keys
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Delivery, DeliveryAttempt, Product
from imgsvc.services.ports import ObjectReader, Part, Stored

NO_ROWS = {"batch": 0, "product": 0, "asset": 0, "delivery": 0, "attempt": 0}


def media(resources: Resources) -> Path:
    """Return the folder of the storage."""
    return resources.settings.data_dir / "media"


async def media_folder(resources: Resources, key_id: str = LOCAL_KEY) -> str:
    """Return the name of the folder with the images of an API key."""
    async with resources.sessions.read() as session:
        return str((await api_keys.media_folders(session, [key_id]))[key_id])


async def put(resources: Resources, *keys: str, age: float = 0) -> None:
    """Store a file under each key, written `age` seconds ago by the tests' clock."""
    written = resources.clock().timestamp() - age
    for key in keys:
        await resources.storage.put(key, b"rendition", media_type="image/jpeg")
        os.utime(media(resources) / key, (written, written))


async def load(storage: ObjectReader, key: str, part: Part | None = None) -> bytes:
    """Return the bytes of an object, or a part of them."""
    opened = await storage.open(key, part)
    return b"".join([chunk async for chunk in opened.chunks])


def stored(resources: Resources) -> set[str]:
    """Return the keys of all files."""
    return {path.relative_to(media(resources)).as_posix() for path in media(resources).rglob("*") if path.is_file()}


async def rows_of(resources: Resources, batch_id: str) -> dict[str, int]:
    """Count the rows of the batch in each table."""
    delivery_ids = select(Delivery.id).where(Delivery.batch_id == batch_id)
    counts = {
        "batch": select(func.count()).where(Batch.id == batch_id),
        "product": select(func.count()).where(Product.batch_id == batch_id),
        "asset": select(func.count()).where(Asset.batch_id == batch_id),
        "delivery": select(func.count()).where(Delivery.batch_id == batch_id),
        "attempt": select(func.count()).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids)),
    }
    async with resources.sessions.read() as session:
        return {table: (await session.exec(count)).one() for table, count in counts.items()}


class EventfulInventory:
    """The port Inventory; it calls `listing` before each listing and `removing` before each removal."""

    def __init__(
        self,
        resources: Resources,
        *,
        listing: Callable[[], Awaitable[object]] | None = None,
        removing: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._storage, self._listing, self._removing = resources.storage, listing, removing

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        if self._listing:
            await self._listing()
        async for page in self._storage.list(prefix):
            yield page

    async def remove(self, keys: Sequence[str]) -> None:
        if self._removing:
            await self._removing()
        await self._storage.remove(keys)

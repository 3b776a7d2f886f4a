"""The archive: every rendition of a batch in one ZIP, made while it is sent."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from io import RawIOBase
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Batch
from imgsvc.errors import NotFound
from imgsvc.services.ports import Shelf

PAGE = 1_000
"""Assets that are looked up at a time."""
PIECE = 256 * 1024
"""Bytes that are gathered before they are sent."""
_READABLE = 0o644 << 16


class _Outbox(RawIOBase):
    """What the ZIP writer has written and nobody has sent yet; it cannot seek, so the writer never goes back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]  # the ZIP writer has nothing else
        self._pieces.append(bytes(piece))
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces, self.size = [], 0
        return taken


async def archive(batch: Batch, *, sessions: Sessions, shelf: Shelf) -> AsyncGenerator[bytes, None]:
    """A ZIP of all renditions there are, each named as in its link; not compressed again, which would save nothing.

    Memory holds one piece, and about 0.5 kB for each entry: a ZIP ends with a list of them.

    Raises:
        NotFound: the batch was deleted in the meantime.
        StorageError: a rendition is gone, or the storage does not answer.
    """
    outbox = _Outbox()
    made = (batch.finished_at or batch.created_at).timetuple()[:6]
    with ZipFile(outbox, "w", ZIP_STORED) as bundle:
        async for key in _keys(batch.id, sessions):
            entry = ZipInfo(key.rpartition("/")[2], date_time=made)
            entry.external_attr = _READABLE
            with bundle.open(entry, "w") as file:
                async with aclosing(shelf.read(key)) as pieces:  # also when whoever takes the archive goes away
                    async for piece in pieces:
                        file.write(piece)
                        if outbox.size >= PIECE:
                            yield outbox.take()
    yield outbox.take()


async def _keys(batch_id: str, sessions: Sessions) -> AsyncGenerator[str, None]:
    """Of every rendition of every asset that has succeeded, in the order of the manifest."""
    after: int | None = -1
    while after is not None:
        async with sessions.read() as session:
            if await queries.get(session, batch_id) is None:
                raise NotFound(f"Batch {batch_id} was deleted.")
            page = await asset_queries.succeeded(session, batch_id, after=after, limit=PAGE)
        for _, renditions in page:
            for entry in renditions:
                yield entry["key"]
        after = page[-1][0] if page else None

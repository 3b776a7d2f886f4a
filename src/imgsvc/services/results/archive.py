"""The archive: every rendition of a batch in one ZIP, made while it is sent."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Batch
from imgsvc.errors import NotFound, ObjectNotFound
from imgsvc.logs import get_logger
from imgsvc.services.ports import ObjectReader
from imgsvc.services.results.zip_stream import ZipStream

log = get_logger(__name__)

PAGE = 1_000
"""Assets that are looked up at a time."""
MISSING = "MISSING.txt"


async def stream_archive(batch: Batch, *, sessions: Sessions, reader: ObjectReader) -> AsyncGenerator[bytes, None]:
    """A ZIP of all renditions there are, each named as in its link; what is lost stands in `MISSING.txt`.

    Raises:
        NotFound: the batch was deleted in the meantime.
        StorageError: the storage does not answer.
    """
    bundle = ZipStream(batch.finished_at or batch.created_at)
    missing = []
    rest = b""
    async for key in _keys(batch.id, sessions):
        name = key.rpartition("/")[2]
        async with aclosing(reader.read(key)) as pieces:  # also when whoever takes the archive goes away
            try:
                piece = await anext(pieces, b"")
            except ObjectNotFound:
                log.error("rendition_missing", batch_id=batch.id, key=key)  # noqa: TRY400  # there is nothing to trace
                missing.append(name)
                continue
            rest += bundle.begin(name)
            while piece:
                yield rest + bundle.write(piece)
                rest = b""
                piece = await anext(pieces, b"")
        rest += bundle.end()
    if missing:
        rest += bundle.begin(MISSING) + bundle.write("".join(f"{name}\r\n" for name in missing).encode()) + bundle.end()
    yield rest
    for part in bundle.finish():
        yield part


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

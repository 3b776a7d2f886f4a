"""The archive: all renditions of a batch in one ZIP, created while it is sent."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets as asset_queries
from imgsvc.db.queries import batches as queries
from imgsvc.db.tables import Batch
from imgsvc.domain.media_keys import key_hash
from imgsvc.errors import NotFound, ObjectNotFound
from imgsvc.logs import get_logger
from imgsvc.services.ports import ObjectReader
from imgsvc.services.results.zip_stream import ZipStream

log = get_logger(__name__)

PAGE = 1_000
"""Assets per read."""
MISSING = "MISSING.txt"


async def stream_archive(batch: Batch, *, sessions: Sessions, reader: ObjectReader) -> AsyncGenerator[bytes, None]:
    """Yield a ZIP of all renditions, each named as in its link; `MISSING.txt` lists those not found in the storage.

    Raises:
        NotFound: the batch has been deleted.
        StorageError: the storage is unavailable.
    """
    zip_stream = ZipStream(batch.finished_at or batch.created_at)
    missing = []
    pending = b""
    async for key in _keys(batch.id, sessions):
        name = key.rpartition("/")[2]
        try:
            opened = await reader.open(key)
        except ObjectNotFound:
            log.error("rendition_missing", batch_id=batch.id, key=key)  # noqa: TRY400  # the traceback adds nothing
            missing.append(name)
            continue
        pending += zip_stream.begin(name)
        async with aclosing(opened.chunks) as chunks:  # closes the file when the client disconnects as well
            async for chunk in chunks:
                yield pending + zip_stream.write(chunk)
                pending = b""
        pending += zip_stream.end()
    if missing:
        lines = "".join(f"{name}\r\n" for name in missing)
        pending += zip_stream.begin(MISSING) + zip_stream.write(lines.encode()) + zip_stream.end()
    yield pending
    for chunk in zip_stream.finish():
        yield chunk


async def _keys(batch_id: str, sessions: Sessions) -> AsyncGenerator[str, None]:
    """Yield the keys of all renditions of succeeded assets, each once, in the order of the manifest."""
    seen: set[bytes] = set()
    after: int | None = -1
    while after is not None:
        async with sessions.read() as session:
            if await queries.get(session, batch_id) is None:
                raise NotFound(f"Batch {batch_id} was deleted.")
            page = await asset_queries.succeeded_renditions(session, batch_id, after=after, limit=PAGE)
        for _, renditions in page:
            for entry in renditions:
                if (each := key_hash(entry["key"])) not in seen:
                    seen.add(each)
                    yield entry["key"]
        after = page[-1][0] if page else None

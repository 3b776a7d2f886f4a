"""Time limits, error translation and chunked reads, shared by the storages on obstore."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Store

if TYPE_CHECKING:
    from obstore import GetResult

from imgsvc.errors import ObjectNotFound, StorageError
from imgsvc.services.ports import OpenObject, Part

DEFAULT_TIMEOUT = 30.0
"""Seconds."""
PAGE = 1_000
"""Keys per page of a listing. S3 lists, and deletes, as many in one request."""
_CHUNK = 256 * 1024
"""Bytes per chunk of a body that is read."""
_ERRORS = (BaseError, OSError, ValueError)


@contextmanager
def opening(url: str) -> Iterator[None]:
    """Translate the errors of a block that opens the storage at `url`.

    Raises:
        StorageError: the block failed; the message contains `url` and the reason.
    """
    try:
        yield
    except _ERRORS as exc:
        reason = str(exc).partition("\n")[0]  # the other lines are for obstore's developers
        raise StorageError(f"Cannot open the storage at {url}: {reason}") from exc


@asynccontextmanager
async def storage_call(seconds: float) -> AsyncIterator[None]:
    """Limit a block that calls the storage to `seconds`, and translate its errors.

    Raises:
        StorageError: the call failed or took too long.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except _ERRORS as exc:
        raise StorageError from exc


async def open_object(store: Store, key: str, part: Part | None, *, seconds: float) -> OpenObject:
    """Open the object `key`, or a part of it; this and each chunk may take `seconds`.

    Raises:
        ObjectNotFound: there is no such key.
        StorageError: the store failed or took too long.
    """
    async with storage_call(seconds):
        try:
            found = await obstore.get_async(store, key, options={"range": (part.start, part.stop)} if part else None)
        except FileNotFoundError as exc:
            raise ObjectNotFound(key) from exc
    return OpenObject(found.meta["size"], _chunks(found, seconds))


async def _chunks(found: "GetResult", seconds: float) -> AsyncGenerator[bytes, None]:
    chunks = found.stream(min_chunk_size=_CHUNK)
    while True:
        async with storage_call(seconds):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield bytes(chunk)


def new_probe_key() -> str:
    """Return the key that one process writes and removes in its checks.

    An interrupted check leaves its probe behind; the next one uses the same key and removes it.
    """
    return f".check-{secrets.token_hex(8)}"

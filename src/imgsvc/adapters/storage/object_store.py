"""Where renditions lie: a local folder, S3, GCS or Azure, all through obstore."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store, from_url

from imgsvc.adapters.storage import local_disk
from imgsvc.errors import ObjectNotFound, StorageError
from imgsvc.process.private_files import make_folder
from imgsvc.services.ports import Stored

_ERRORS = (BaseError, OSError, ValueError)
LINK_LIFETIME = timedelta(minutes=10)
PAGE = 1_000
"""Also what S3 lists, and deletes, in one request."""
_AT_ONCE = 50
_PIECE = 256 * 1024
"""Bytes that are read at a time."""
MAX_RETRIES = 2
"""Of one request: whoever called has a schedule of its own. obstore alone would try eleven times in three minutes."""


class ObjectStorage:
    """The ports `Storage`, `ObjectReader` and `Inventory` on one obstore store.

    A local put goes to a temporary name and is renamed, an object store's put is one request: a truncated file is never
    visible, whatever dies. On disk nothing is synced: what was put survives every crash of a process, but a power cut
    may empty or lose the files of the last seconds. A folder that is gone is made again by the next put.

    The media type lies in the database; object stores are told too, so that presigned links serve it.
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        """Open the store at `url`; `timeout` is in seconds for each call, which takes no longer.

        Raises:
            StorageError: the folder cannot be made, or the URL is of no known kind.
        """
        self._timeout = timeout
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        try:
            if self._folder:
                make_folder(self._folder)
            store = LocalStore(self._folder, mkdir=True) if self._folder else _remote(url, timeout)
        except _ERRORS as exc:
            reason = str(exc).partition("\n")[0]  # what follows is for the library's developers
            raise StorageError(f"Cannot open the storage at {url}: {reason}") from exc
        if not isinstance(store, LocalStore | S3Store | GCSStore | AzureStore):
            raise StorageError(f"Renditions cannot be kept at {url}: use a file://, s3://, gs:// or az:// URL.")
        self._store = store
        # One for the whole process: a check that broke off leaves it behind, and the next one removes it.
        self._probe = f".check-{secrets.token_hex(8)}"

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        attributes = None if self._folder else {"Content-Type": media_type}
        async with self._answering():
            # In one piece: the parts of an upload that was killed would be kept, and paid for, where no list shows them
            await obstore.put_async(self._store, key, data, attributes=attributes, use_multipart=False)

    async def copy(self, source: str, key: str) -> bool:
        async with self._answering():
            if self._folder:
                return await asyncio.to_thread(local_disk.copy, self._folder, source, key)
            try:
                await obstore.copy_async(self._store, source, key)
            except FileNotFoundError:
                return False
            return True

    async def locate(self, key: str, *, method: Literal["GET", "HEAD"] = "GET") -> Path | str | None:
        async with self._answering():
            if self._folder or isinstance(self._store, LocalStore):
                return await asyncio.to_thread(local_disk.find, self._folder or Path(), key)
            return await obstore.sign_async(self._store, method, key, LINK_LIFETIME)

    async def read(self, key: str) -> AsyncGenerator[bytes, None]:
        async with self._answering():
            try:
                found = await obstore.get_async(self._store, key)
            except FileNotFoundError as exc:
                raise ObjectNotFound(key) from exc
        pieces = found.stream(min_chunk_size=_PIECE)
        while True:
            async with self._answering():
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield bytes(piece)

    async def check(self) -> None:
        await self.put(self._probe, b"imgsvc", media_type="text/plain")
        await self.remove([self._probe])

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        pages = self._local_pages(self._folder, prefix) if self._folder else self._remote_pages(prefix)
        while True:
            async with self._answering():
                page = await anext(pages, None)
            if page is None:
                return
            yield page

    async def remove(self, keys: Sequence[str]) -> None:
        step = PAGE if self._folder or isinstance(self._store, S3Store) else _AT_ONCE
        for start in range(0, len(keys), step):
            async with self._answering():
                await self._remove(keys[start : start + step])

    async def _remove(self, keys: Sequence[str]) -> None:
        if self._folder:
            await asyncio.to_thread(local_disk.remove, self._folder, keys)
        elif isinstance(self._store, S3Store):
            await obstore.delete_async(self._store, keys)
        else:
            await asyncio.gather(*map(self._remove_one, keys))

    async def _remove_one(self, key: str) -> None:
        """GCS and Azure refuse a key that is not there, and in bulk would then leave the others too."""
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key)

    async def _local_pages(self, folder: Path, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        pages = local_disk.pages(folder, prefix, PAGE)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            yield page

    async def _remote_pages(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        async for page in obstore.list(self._store, prefix or None, chunk_size=PAGE):
            yield [Stored(found["path"], found["size"], found["last_modified"]) for found in page]

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except _ERRORS as exc:
            raise StorageError from exc


def _remote(url: str, timeout: float) -> object:
    """A store that tries again only within the first third of our patience.

    A request's own limits are obstore's (5 s to connect, 30 s in all) or the environment's: options given here would
    make it forget `AWS_ALLOW_HTTP` and the like.
    """
    third = timedelta(seconds=timeout / 3)
    return from_url(
        url,
        retry_config={
            "max_retries": MAX_RETRIES,
            "retry_timeout": third,
            "backoff": {"init_backoff": third / 100, "max_backoff": third / 10, "base": 2},
        },
    )

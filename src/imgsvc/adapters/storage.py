"""Where renditions lie: a local folder, S3, GCS or Azure, all through obstore."""

import asyncio
import secrets
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store, from_url

from imgsvc.errors import StorageError

_ERRORS = (BaseError, OSError, ValueError)
LINK_LIFETIME = timedelta(minutes=10)


class ObjectStorage:
    """The port `Storage` on one obstore store.

    A local put goes to a temporary name and is renamed, an object store's put is atomic by itself: a truncated file is
    never visible. The media type lies in the database; object stores are told too, so that presigned links serve it.
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        """Open the store at `url`; `timeout` is in seconds for each call.

        Raises:
            StorageError: the folder cannot be made, or the URL is of no known kind.
        """
        self._timeout = timeout
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        try:
            store = LocalStore(self._folder, mkdir=True) if self._folder else from_url(url)
        except _ERRORS as exc:
            reason = str(exc).partition("\n")[0]  # what follows is for the library's developers
            raise StorageError(f"Cannot open the storage at {url}: {reason}") from exc
        if not isinstance(store, LocalStore | S3Store | GCSStore | AzureStore):
            raise StorageError(f"Renditions cannot be kept at {url}: use a file://, s3://, gs:// or az:// URL.")
        self._store = store

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        attributes = None if self._folder else {"Content-Type": media_type}
        try:
            async with asyncio.timeout(self._timeout):
                await obstore.put_async(self._store, key, data, attributes=attributes)
        except _ERRORS as exc:
            raise StorageError from exc

    async def locate(self, key: str) -> Path | str | None:
        if isinstance(self._store, LocalStore):
            path = (self._folder or Path()) / key
            return path if await asyncio.to_thread(path.is_file) else None
        try:
            async with asyncio.timeout(self._timeout):
                return await obstore.sign_async(self._store, "GET", key, LINK_LIFETIME)
        except _ERRORS as exc:
            raise StorageError from exc

    async def check(self) -> None:
        key = f".check-{secrets.token_hex(8)}"
        await self.put(key, b"imgsvc", media_type="text/plain")
        try:
            async with asyncio.timeout(self._timeout):
                await obstore.delete_async(self._store, key)
        except _ERRORS as exc:
            raise StorageError from exc

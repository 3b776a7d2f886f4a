"""S3, Google Cloud Storage or Azure as storage, through obstore."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

import obstore
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from imgsvc.adapters.storage.calls import DEFAULT_TIMEOUT, PAGE, new_probe_key, open_object, opening, storage_call
from imgsvc.errors import StorageError
from imgsvc.services.ports import OpenObject, Part, Stored

IMMUTABLE = "public, max-age=31536000, immutable"
"""The bytes of a key never change."""
MAX_RETRIES = 2
"""Retries per request. The callers have retry schedules of their own; obstore's default is ten retries in 3 minutes."""
_CONCURRENT_REMOVALS = 50


class ObjectStore:
    """The ports `Storage`, `ObjectReader` and `Inventory` on a bucket of an object store.

    A put is one request, so a truncated object is never visible, even if the process dies. Objects get their media
    type and their time in caches, because a CDN may serve them from the bucket.
    """

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Open the bucket at `url`; each call may take `timeout` seconds, retries included.

        Raises:
            StorageError: obstore cannot open `url`, or it is not an object store.
        """
        self._timeout = timeout
        with opening(url):
            store = _open(url, timeout)
        if not isinstance(store, S3Store | GCSStore | AzureStore):
            raise StorageError(f"Renditions cannot be kept at {url}: use a file://, s3://, gs:// or az:// URL.")
        self._store = store
        self._probe = new_probe_key()

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        attributes = {"Content-Type": media_type, "Cache-Control": IMMUTABLE}
        async with storage_call(self._timeout):
            # In one request: the parts of an interrupted multipart upload stay, cost money, and appear in no listing.
            await obstore.put_async(self._store, key, data, attributes=attributes, use_multipart=False)

    async def exists(self, key: str) -> bool:
        async with storage_call(self._timeout):
            try:
                await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return False
            return True

    async def open(self, key: str, part: Part | None = None) -> OpenObject:
        return await open_object(self._store, key, part, seconds=self._timeout)

    async def check(self) -> None:
        await self.put(self._probe, b"imgsvc", media_type="text/plain")
        await self.remove([self._probe])

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        async with storage_call(self._timeout):
            pages = aiter(obstore.list(self._store, prefix or None, chunk_size=PAGE))
        while True:
            async with storage_call(self._timeout):
                page = await anext(pages, None)
            if page is None:
                return
            yield [Stored(found["path"], found["size"], found["last_modified"]) for found in page]

    async def remove(self, keys: Sequence[str]) -> None:
        step = PAGE if isinstance(self._store, S3Store) else _CONCURRENT_REMOVALS
        for start in range(0, len(keys), step):
            async with storage_call(self._timeout):
                await self._remove(keys[start : start + step])

    async def _remove(self, keys: Sequence[str]) -> None:
        if isinstance(self._store, S3Store):
            await obstore.delete_async(self._store, keys)
        else:
            await asyncio.gather(*map(self._remove_one, keys))

    async def _remove_one(self, key: str) -> None:
        """Remove one key. GCS and Azure reject a missing key; in a bulk request, the other keys would then remain."""
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key)


def _open(url: str, timeout: float) -> object:
    """Open the store of `url`, with retries only within the first third of `timeout`.

    The limits of a single request are obstore's defaults (5 s to connect, 30 s in all) or the environment's: options
    given here would make obstore ignore `AWS_ALLOW_HTTP` and the like.
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

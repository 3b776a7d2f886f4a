"""A local folder as storage, by obstore and by file operations of our own."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore

from imgsvc.adapters.storage import local_files
from imgsvc.adapters.storage.calls import DEFAULT_TIMEOUT, PAGE, new_probe_key, open_object, opening, storage_call
from imgsvc.errors import StorageError
from imgsvc.process.private_files import make_folder
from imgsvc.services.ports import OpenObject, Part, Stored


class LocalDisk:
    """The ports `Storage`, `ObjectReader` and `Inventory` on a folder of this machine.

    A put writes to a temporary name and renames it, so a truncated file is never visible, even if the process dies.
    Nothing is synced: a stored file survives every crash of a process, but a power cut may empty or lose the files of
    the last seconds. If the folder disappears, the next put creates it again.

    The media type is not stored: it is in the database.
    """

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Open the folder of the file:// `url`, and create it if it is missing; each call may take `timeout` seconds.

        Raises:
            StorageError: the folder cannot be created.
        """
        self._timeout = timeout
        self._folder = Path(unquote(urlsplit(url).path))
        with opening(url):
            make_folder(self._folder)
            self._store = LocalStore(self._folder, mkdir=True)
        self._one_look = asyncio.Lock()
        self._asked: set[str] = set()
        self._looking: asyncio.Task[Mapping[str, bool | Exception]] | None = None
        self._probe = new_probe_key()

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:  # noqa: ARG002  # required by the port
        async with storage_call(self._timeout):
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def exists(self, key: str) -> bool:
        self._asked.add(key)
        if self._looking is None or self._looking.done():  # one that fails early has not begun to look
            self._looking = asyncio.create_task(self._look())
        found = (await asyncio.shield(self._looking))[key]
        if isinstance(found, Exception):
            raise StorageError from found
        return found

    async def _look(self) -> Mapping[str, bool | Exception]:
        """Look up the keys asked for, in one thread call for all that were asked for during the one before."""
        async with storage_call(self._timeout), self._one_look:
            keys, self._asked, self._looking = self._asked, set(), None
            return await asyncio.to_thread(local_files.look_up, self._folder, keys)

    async def open(self, key: str, part: Part | None = None) -> OpenObject:
        return await open_object(self._store, key, part, seconds=self._timeout)

    async def check(self) -> None:
        await self.put(self._probe, b"imgsvc", media_type="text/plain")
        await self.remove([self._probe])

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        pages = local_files.pages(self._folder, prefix, PAGE)
        while True:
            async with storage_call(self._timeout):
                page = await asyncio.to_thread(next, pages, None)
            if page is None:
                return
            yield page

    async def remove(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), PAGE):
            async with storage_call(self._timeout):
                await asyncio.to_thread(local_files.remove, self._folder, keys[start : start + PAGE])

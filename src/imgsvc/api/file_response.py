"""A file response that opens the file before the response begins."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import anyio
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from imgsvc.errors import StorageError


class OpenFileResponse(FileResponse):
    """Sends `file`, or the requested range of it, and closes it.

    Starlette's own opens the path after the status has been sent: if the file had just been removed, the client got a
    500 or half a response. An open file is sent completely, even if it is removed or renamed.
    """

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        super().__init__(file.name, stat_result=os.fstat(file.fileno()), **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[anyio.AsyncFile[bytes]]:
        """Yield the open file; Starlette calls this where it would open the path.

        Raises:
            StorageError: the disk or network file system fails during the response.
        """
        try:
            yield anyio.wrap_file(self._file)
        except OSError as exc:
            raise StorageError(f"a file could not be read completely: {exc}") from exc

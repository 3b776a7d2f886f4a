"""A file as a response, opened before the answer begins."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import anyio
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from imgsvc.errors import StorageError


class OpenFileResponse(FileResponse):
    """Sends `file`, or the range of it that is asked for, and closes it.

    Starlette's own opens the path when the status is out already: a file removed a moment before was a 500, or half an
    answer. One that is open is sent to its end, whatever becomes of its name.
    """

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        super().__init__(file.name, stat_result=os.fstat(file.fileno()), **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[anyio.AsyncFile[bytes]]:
        """Called by Starlette where it would open the path.

        Raises:
            StorageError: the disk, or a network's, fails in the middle.
        """
        try:
            yield anyio.wrap_file(self._file)
        except OSError as exc:
            raise StorageError(f"a file could not be read to its end: {exc}") from exc

"""The bytes of an upload: on disk while they arrive, in memory when it is their turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from imgsvc.errors import StorageError
from imgsvc.services.throttling.fair_semaphore import FairSemaphore, Reservation

IN_MEMORY = 2**20
"""Bytes of a body that are not worth a file; what is no larger waits for no larger one either."""
SMALL_AT_ONCE = 32
_MAX_FIELDS = 30
_MAX_FIELD_BYTES = 64 * 1024


class UploadBudget:
    """How many bytes of CSVs are worked on at one time: a manifest takes several times its file's.

    API keys take turns. Small uploads have room of their own, so that none waits behind the largest.
    """

    def __init__(self, most: int) -> None:
        """`most`: bytes of the largest upload there is; as many are worked on at one time."""
        self._small = FairSemaphore(SMALL_AT_ONCE * IN_MEMORY)
        self._large = FairSemaphore(most)

    async def take(self, api_key_id: str, size: int) -> Reservation:
        gate = self._small if size <= IN_MEMORY else self._large
        return await gate.acquire(api_key_id, max(1, size))


@asynccontextmanager
async def received_form(request: Request) -> AsyncIterator[FormData]:
    """A multipart form, its file complete.

    Raises:
        HTTPException: it is too large (413), or none (400).
        StorageError: there is no place for it on the disk.
    """
    try:
        form = await request.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    except OSError as exc:
        raise StorageError(f"no place for an upload: {exc}") from exc
    try:
        yield form
    finally:
        await form.close()


@asynccontextmanager
async def received_body(request: Request) -> AsyncIterator[UploadFile]:
    """A body that is the file itself.

    Raises:
        HTTPException: it is too large (413).
        StorageError: there is no place for it on the disk.
    """
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        file = UploadFile(spool, size=0)  # type: ignore[arg-type]  # what Starlette's own forms have
        async for piece in request.stream():
            try:
                await file.write(piece)
            except OSError as exc:
                raise StorageError(f"no place for an upload: {exc}") from exc
        await file.seek(0)
        yield file

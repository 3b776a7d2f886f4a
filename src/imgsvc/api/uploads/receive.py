"""Receives the bytes of an upload: to disk while they arrive, to memory when the budget allows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from imgsvc.errors import StorageError
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation

SMALL_UPLOAD = 2**20
"""Bytes up to which a body is kept in memory instead of a file; such uploads have a budget of their own."""
CONCURRENT_SMALL_UPLOADS = 32
_MAX_FIELDS = 30
_MAX_FIELD_BYTES = 64 * 1024


class UploadBudget:
    """A limit on the bytes of uploads processed concurrently: a manifest takes several times the memory of its file.

    API keys are served in turn. Small uploads have a budget of their own, so that none waits for a large one.
    """

    def __init__(self, max_upload_bytes: int) -> None:
        """Allow `max_upload_bytes` in total, the size of the largest possible upload."""
        self._small = FairSemaphore(CONCURRENT_SMALL_UPLOADS * SMALL_UPLOAD)
        self._large = FairSemaphore(max_upload_bytes)

    async def reserve(self, api_key_id: str, size: int) -> Reservation:
        semaphore = self._small if size <= SMALL_UPLOAD else self._large
        return await semaphore.acquire(Flow(api_key_id, batch_id=""), min(max(1, size), semaphore.capacity))


@asynccontextmanager
async def received_form(request: Request) -> AsyncIterator[FormData]:
    """Yield the multipart form once it has been received completely.

    Raises:
        HTTPException: the body is too large (413), or not a valid form (400).
        StorageError: the disk is full or fails.
    """
    try:
        form = await request.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    except OSError as exc:
        raise StorageError(f"an upload could not be written to the disk: {exc}") from exc
    try:
        yield form
    finally:
        await form.close()


@asynccontextmanager
async def received_body(request: Request) -> AsyncIterator[UploadFile]:
    """Yield a body that is the file itself, once it has been received completely.

    Raises:
        HTTPException: the body is too large (413).
        StorageError: the disk is full or fails.
    """
    with SpooledTemporaryFile(max_size=SMALL_UPLOAD) as spool:
        file = UploadFile(spool, size=0)  # type: ignore[arg-type]  # Starlette's own forms use one as well
        async for chunk in request.stream():
            await write_chunk(file, chunk)
        await file.seek(0)
        yield file


async def write_chunk(file: UploadFile, chunk: bytes) -> None:
    """Append `chunk` to a file that goes to the disk when it grows.

    Raises:
        StorageError: the disk is full or fails.
    """
    try:
        await file.write(chunk)
    except OSError as exc:
        raise StorageError(f"an upload could not be written to the disk: {exc}") from exc

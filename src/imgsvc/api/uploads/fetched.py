"""Uploads without a file: the service fetches the catalogue at their `source_url`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import SpooledTemporaryFile

from starlette.datastructures import UploadFile

from imgsvc.api.uploads.content import Declared, UploadParts, with_content
from imgsvc.api.uploads.names import base_name, name_in_url
from imgsvc.api.uploads.receive import SMALL_UPLOAD, write_chunk
from imgsvc.errors import NotModified
from imgsvc.services.intake import idempotency
from imgsvc.services.intake.earlier_file import find_earlier, read_known_file
from imgsvc.services.intake.source import Source, reading_of
from imgsvc.services.intake.submit import upload_key
from imgsvc.services.intake.upload import Upload
from imgsvc.services.ports import FetchedFile, Validators


@asynccontextmanager
async def fetched(upload: Upload, parts: UploadParts, *, api_key_id: str) -> AsyncIterator[Upload]:
    """Yield `upload` with the file at its `source_url`, fetched or known from an earlier batch.

    An upload whose idempotency key already has a batch is yielded as it is: `submit` returns that batch.

    Raises:
        IdempotencyKeyReused: the key was used for another upload.
        InvalidUpload: the file cannot be fetched.
        Those of `read_content`.
    """
    key = await upload_key(upload, api_key_id)
    if key and await idempotency.find_replayed(key, sessions=parts.sessions, clock=parts.clock):
        yield upload
        return
    reading = reading_of(upload, parts.limits, parts.max_bytes)
    earlier = await find_earlier(upload, reading, api_key_id=api_key_id, sessions=parts.sessions)
    with SpooledTemporaryFile(max_size=SMALL_UPLOAD) as spool:
        file = UploadFile(spool, size=0)  # type: ignore[arg-type]  # Starlette's own forms use one as well
        found = await _fetch(upload, file, parts, earlier[1].validators if earlier else None, api_key_id=api_key_id)
        if earlier and found is None:
            batch_id, source = earlier
            with await parts.budget.reserve(api_key_id, source.size):
                known = await read_known_file(batch_id, upload, limits=parts.limits, sessions=parts.sessions)
                if known:
                    yield replace(upload, known=known, filename=known.filename, source=source.stored())
                    return
            found = await _fetch(upload, file, parts, None, api_key_id=api_key_id)  # that batch was deleted meanwhile
        assert found is not None  # noqa: S101  # only validators are answered with 304
        await file.seek(0)
        name = upload.filename or base_name(found.filename) or name_in_url(upload.source_url or "")
        source = Source(upload.source_url or "", found.validators, reading, size=0)
        draft = replace(upload, filename=name, source=source.stored())
        declared = Declared(found.media_type, name or "")
        async with with_content(draft, file, declared, parts, api_key_id=api_key_id) as complete:
            yield complete


async def _fetch(
    upload: Upload, file: UploadFile, parts: UploadParts, validators: Validators | None, *, api_key_id: str
) -> FetchedFile | None:
    """Fetch the file to `file`; return None if it has not changed since it had these `validators`."""

    async def write(chunk: bytes) -> None:
        await write_chunk(file, chunk)

    try:
        return await parts.fetcher.fetch(upload.source_url or "", write, validators=validators, api_key_id=api_key_id)
    except NotModified:
        return None

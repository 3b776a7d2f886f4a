"""Reads an upload (a form, a bare file with a query string, or JSON) and validates it."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.uploads.content import Declared, UploadParts, read_content
from imgsvc.api.uploads.fields import JsonFields, UploadFields
from imgsvc.api.uploads.json_body import JSON_COST, JSON_TYPE, read_json
from imgsvc.api.uploads.receive import received_body, received_form
from imgsvc.domain.manifest.formats.table import MEDIA_TYPES
from imgsvc.errors import InvalidUpload, Problem, UnsupportedMediaType
from imgsvc.services.intake.upload import Upload

MULTIPART = "multipart/form-data"
ANY_TYPE = "application/octet-stream"
FILE_TYPES = (*MEDIA_TYPES, ANY_TYPE)
"""Media types of a body that is the file itself; its bytes decide what it is."""


@asynccontextmanager
async def read_upload(
    request: Request, parts: UploadParts, *, api_key_id: str, idempotency_key: str | None
) -> AsyncIterator[Upload]:
    """Yield the upload in `request`; its bytes are in memory only within the context.

    Raises:
        UnsupportedMediaType: neither multipart, a known file nor JSON.
        InvalidManifest, LimitExceeded: the file cannot be converted.
        InvalidUpload: fields are invalid; lists all of them.
        HTTPException: the body is too large (413) or malformed (400).
        SandboxUnavailable: no process that converts the file can be started.
        StorageError: the disk is full or fails.
    """
    context = {"allowed_networks": parts.allowed_networks}
    upload = partial(_upload, idempotency_key=idempotency_key, max_pixels=parts.max_pixels)
    async with _received(request) as (file, pairs):
        size = file.size or 0
        if _media_type(request) == JSON_TYPE:
            with await parts.budget.reserve(api_key_id, size * JSON_COST):
                data = await file.read()
                members, products = await read_json(data, pairs, context)
                yield upload(members, data, members.filename, products=products)
            return
        fields = _fields(pairs, context)
        media_type = (file.content_type or request.headers.get("content-type", "")).partition(";")[0].strip().lower()
        declared = Declared(media_type, unquote(file.filename or ""), fields.sheet)
        async with read_content(file, declared, parts, api_key_id=api_key_id) as content:
            with await parts.budget.reserve(api_key_id, size + content.size):
                data, table = await file.read(), content.read()
                more: dict[str, Any] = {
                    "columns": fields.columns,
                    "sheet": fields.sheet,
                    "table": table,
                    "format": content.name,
                }
                yield upload(fields, data, declared.filename, **more)


def _upload(
    fields: UploadFields | JsonFields,
    data: bytes,
    filename: str | None,
    *,
    idempotency_key: str | None,
    max_pixels: int,
    **more: Any,
) -> Upload:
    return Upload(
        data=data,
        filename=_base_name(filename),
        specs=fields.specs_with(fields.renditions, max_pixels=max_pixels),
        on_invalid=fields.on_invalid,
        names=fields.names,
        output=fields.output,
        on_failed=fields.on_failed,
        catalogue=fields.catalogue,
        webhook_url=fields.webhook_url,
        refresh=fields.refresh,
        validate_only=fields.validate_only,
        metadata=fields.metadata or {},
        idempotency_key=idempotency_key,
        **more,
    )


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[tuple[UploadFile, list[tuple[str, str]]]]:
    """Yield the file and the fields."""
    query = request.query_params.multi_items()
    media_type = _media_type(request)
    if media_type == MULTIPART:
        async with received_form(request) as form:
            fields = [(name, str(value)) for name, value in form.multi_items() if name != "file"]
            yield _file(form), [*query, *fields]
    elif media_type in (*FILE_TYPES, JSON_TYPE):
        async with received_body(request) as file:
            yield file, query
    else:
        raise UnsupportedMediaType(
            f"Send {MULTIPART} with the catalogue as `file`, the file itself with its media type such as text/csv, or "
            f"products as {JSON_TYPE}"
            + (f", not {media_type}." if media_type else "; the request names no Content-Type.")
        )


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        missing = Problem(
            code="missing", detail="file: send the CSV as a file in the form field `file`.", column="file"
        )
        raise InvalidUpload("The upload has no file.", (missing,))
    return file


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _base_name(filename: str | None) -> str | None:
    """Return the file name without the folders that some programs include."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:255] or None


def _fields(pairs: Sequence[tuple[str, str]], context: dict[str, Any]) -> UploadFields:
    """Validate the fields; an empty form field counts as omitted."""
    values: dict[str, Any] = {name: value for name, value in pairs if value != ""}
    counts = Counter(name for name, value in pairs if value != "")
    problems = [
        Problem(code="repeated", detail=f"{name}: given {count} times; send it once.", column=name)
        for name, count in counts.items()
        if count > 1
    ]
    try:
        fields = UploadFields.model_validate(values, context=context)
    except ValidationError as error:
        problems += from_pydantic(error.errors(include_url=False, include_context=False))
    if problems:
        listed = "; ".join(problem.detail for problem in problems[:3])
        raise InvalidUpload(f"The upload was rejected: {listed}", tuple(problems))
    return fields

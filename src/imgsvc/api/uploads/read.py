"""Reads an upload (a form, a bare file with a query string, JSON, or the URL of a file) and validates it."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.uploads.content import Declared, UploadParts, with_content
from imgsvc.api.uploads.fetched import fetched
from imgsvc.api.uploads.fields import JsonFields, UploadFields
from imgsvc.api.uploads.json_body import JSON_COST, JSON_TYPE, TWO_SOURCES, read_json
from imgsvc.api.uploads.names import base_name
from imgsvc.api.uploads.receive import received_body, received_form
from imgsvc.domain.manifest.formats.table import MEDIA_TYPES
from imgsvc.errors import InvalidUpload, Problem, UnsupportedMediaType
from imgsvc.services.intake.source import catalogue_of
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
        InvalidUpload: fields are invalid; lists all of them. Or the file at the `source_url` cannot be fetched.
        IdempotencyKeyReused: the key was used for another `source_url` or other fields.
        HTTPException: the body is too large (413) or malformed (400).
        SandboxUnavailable: no process that converts the file can be started.
        StorageError: the disk is full or fails.
    """
    context = {"allowed_networks": parts.allowed_networks}
    draft = partial(_draft, idempotency_key=idempotency_key, max_pixels=parts.max_pixels)
    async with _received(request) as (file, pairs):
        fields: UploadFields | JsonFields
        if _media_type(request) == JSON_TYPE:
            with await parts.budget.reserve(api_key_id, (file.size or 0) * JSON_COST):
                data = await file.read()
                fields, products = await read_json(data, pairs, context)
                if products is not None:
                    yield replace(draft(fields, fields.filename), data=data, products=products)
                    return
            filled = fetched(draft(fields, fields.filename), parts, api_key_id=api_key_id)
        else:
            fields = _fields(pairs, context)
            if fields.source_url:
                filled = fetched(draft(fields, None), parts, api_key_id=api_key_id)
            else:
                media_type = file.content_type or request.headers.get("content-type", "")
                name = unquote(file.filename or "")
                declared = Declared(media_type.partition(";")[0].strip().lower(), name)
                filled = with_content(draft(fields, name), file, declared, parts, api_key_id=api_key_id)
        async with filled as upload:
            yield upload


def _draft(
    fields: UploadFields | JsonFields, filename: str | None, *, idempotency_key: str | None, max_pixels: int
) -> Upload:
    """Return the upload without its content."""
    source_url, columns, sheet = (getattr(fields, name, None) for name in ("source_url", "columns", "sheet"))
    return Upload(
        data=b"",
        filename=base_name(filename),
        specs=fields.specs_with(fields.renditions, max_pixels=max_pixels),
        columns=columns,
        sheet=sheet,
        on_invalid=fields.on_invalid,
        names=fields.names,
        output=fields.output,
        on_failed=fields.on_failed,
        catalogue=fields.catalogue or (source_url and catalogue_of(source_url)),
        source_url=source_url,
        webhook_url=fields.webhook_url,
        refresh=fields.refresh,
        validate_only=fields.validate_only,
        metadata=fields.metadata or {},
        idempotency_key=idempotency_key,
    )


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[tuple[UploadFile, list[tuple[str, str]]]]:
    """Yield the file, which is empty if there is a `source_url`, and the fields."""
    query = request.query_params.multi_items()
    media_type = _media_type(request)
    if media_type == MULTIPART:
        async with received_form(request) as form:
            fields = [*query, *((name, str(value)) for name, value in form.multi_items() if name != "file")]
            yield _no_file(form.get("file")) if _has_source(fields) else _file(form), fields
    elif _has_source(query) and media_type != JSON_TYPE:
        async with received_body(request) as file:
            yield _no_file(file), query
    elif media_type in (*FILE_TYPES, JSON_TYPE):
        async with received_body(request) as file:
            yield file, query
    else:
        raise UnsupportedMediaType(
            f"Send {MULTIPART} with the catalogue as `file`, the file itself with its media type such as text/csv, or "
            f"products as {JSON_TYPE}"
            + (f", not {media_type}." if media_type else "; the request names no Content-Type.")
        )


def _has_source(fields: Sequence[tuple[str, str]]) -> bool:
    return any(name == "source_url" and value for name, value in fields)


def _no_file(file: UploadFile | str | None) -> UploadFile:
    """Return an empty file, or raise if a file came with the `source_url`; browsers send an empty one for none."""
    if isinstance(file, UploadFile) and not file.size and not file.filename:
        return file
    if not file:
        return UploadFile(BytesIO(), size=0)
    problem = Problem("two_sources", f"source_url: {TWO_SOURCES}", column="source_url")
    raise InvalidUpload(f"The upload was rejected: {problem.detail}", (problem,))


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

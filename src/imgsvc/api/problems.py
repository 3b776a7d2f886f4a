"""Every refusal as RFC 9457 problem+json; the one place that knows which error is which HTTP status."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from imgsvc.api.request_ids import HEADER, request_id_of
from imgsvc.errors import (
    BatchFinished,
    BatchNotFinished,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    ImgsvcError,
    InvalidManifest,
    InvalidUpload,
    LimitExceeded,
    NotFound,
    NothingToRetry,
    Problem,
    Refusal,
    StorageError,
    UnsupportedMediaType,
)
from imgsvc.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_LISTED = 100
_PLACES = ("path", "query", "header", "body")
RETRY_AFTER = 5
"""Seconds after which a part that is away is worth another try."""

# error type → (HTTP status, title)
STATUSES: Mapping[type[ImgsvcError], tuple[int, str]] = {
    InvalidManifest: (422, "The CSV cannot be accepted"),
    InvalidUpload: (422, "A field of the upload cannot be accepted"),
    IdempotencyKeyReused: (422, "The Idempotency-Key belongs to another upload"),
    LimitExceeded: (422, "The upload is over a limit"),
    UnsupportedMediaType: (415, "The body has an unsupported media type"),
    NotFound: (404, "Not found"),
    BatchNotFinished: (409, "The batch is not finished"),
    BatchFinished: (409, "The batch has ended"),
    NothingToRetry: (409, "There is nothing to retry"),
    DatabaseUnavailable: (503, "The database is away"),
    StorageError: (503, "The storage is away"),
}

TITLES = {
    400: ("malformed_request", "The request cannot be read"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "The method is not allowed here"),
    413: ("upload_too_large", "The upload is too large"),
    422: ("invalid_request", "A parameter cannot be accepted"),
    500: ("internal_error", "Something went wrong on our side"),
}


class ProblemError(BaseModel):
    """One thing wrong with a request."""

    row: int | None = Field(None, description="Line of the file, 1 being the first.", examples=[3])
    column: str | None = Field(None, description="Header cell or field name.", examples=["Input Image Urls"])
    code: str = Field(examples=["invalid_url"])
    value: str | None = Field(None, description="What was found there.", examples=["htp:/shop.example/a.jpg"])
    detail: str = Field(examples=["A web address begins with http:// or https://."])


class ProblemDetails(BaseModel):
    """A refusal as RFC 9457 describes it."""

    type: str = Field(examples=["urn:imgsvc:problem:invalid-manifest"])
    title: str = Field(examples=["The CSV cannot be accepted"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 problem was found; nothing was stored."])
    instance: str = Field(description="The path of the request.", examples=["/v1/batches"])
    request_id: str = Field(description="Stands in the server's log too.", examples=["req_01m81syxdvn0cchm7jgbq1vyb2"])
    errors: list[ProblemError] = Field(description="At most 100 of them.")
    errors_total: int = Field(examples=[1])


class ProblemResponse(JSONResponse):
    """It quotes what it refuses, and JSON can hold what is no text: lone surrogates become question marks."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def problem(
    request: Request,
    status: int,
    *,
    code: str,
    title: str,
    detail: str,
    errors: Sequence[Problem] = (),
    errors_total: int = 0,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response that says what is wrong."""
    body = ProblemDetails(
        type=f"urn:imgsvc:problem:{code.replace('_', '-')}",
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        request_id=request_id_of(request.scope),
        errors=[ProblemError(**asdict(error)) for error in errors[:MAX_LISTED]],
        errors_total=max(errors_total, len(errors)),
    )
    # A 500 is made outside of our middlewares, so the id is put on here too.
    return ProblemResponse(body.model_dump(), status, {**(headers or {}), HEADER: body.request_id})


def too_large(request: Request, most: int) -> JSONResponse:
    """The refusal of a body of more than `most` bytes."""
    code, title = TITLES[413]
    detail = f"The body is larger than {most / 2**20:g} MiB (setting IMGSVC_MAX_UPLOAD_BYTES)."
    return problem(request, 413, code=code, title=title, detail=detail)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    status, title = STATUSES[kind]
    refusal = error if isinstance(error, Refusal) else Refusal(f"{title}; try again in a moment.")
    if status >= 500:
        log.error("unavailable", error=repr(error), path=request.url.path)
    return problem(
        request,
        status,
        code=getattr(error, "code", "refused"),
        title=title,
        detail=refusal.detail,
        errors=refusal.problems,
        errors_total=refusal.problems_total,
        headers={"Retry-After": str(RETRY_AFTER)} if status == 503 else None,
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own: no such path, wrong method, body too large or unreadable."""
    assert isinstance(error, HTTPException)  # noqa: S101  # what it is registered for
    if error.status_code == 413:
        return too_large(request, request.app.state.settings.max_upload_bytes)
    code, title = TITLES.get(error.status_code, ("refused", str(error.detail)))
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}; /docs shows what there is."
    elif error.status_code == 405:
        detail = f"{request.method} is not allowed here; allowed: {(error.headers or {}).get('Allow', 'see /docs')}."
    return problem(request, error.status_code, code=code, title=title, detail=detail, headers=error.headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own: path and query parameters."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what it is registered for
    errors = from_pydantic(error.errors())
    code, title = TITLES[422]
    return problem(request, 422, code=code, title=title, detail=errors[0].detail, errors=errors)


async def _left(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  # a handler's signature
    """The client hung up in the middle of its upload; nobody reads this answer."""
    log.info("client_left", path=request.url.path)
    return await _http(request, HTTPException(400, "The body ended before it was complete."))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error.__cause__, ImgsvcError):  # in the middle of an answer: it is cut off, and seen to be
        log.warning("answer_cut_off", error=repr(error.__cause__), path=request.url.path)
    else:
        log.error("request_broke", exc_info=error, path=request.url.path, request_id=request_id_of(request.scope))
    return await _http(request, HTTPException(500, "The server's log has the details."))


def from_pydantic(errors: Sequence[Any]) -> list[Problem]:
    """pydantic's findings as problems; `column` is the field, and the way into it where its value is JSON."""
    return [_from_pydantic(error) for error in errors]


def _from_pydantic(error: Any) -> Problem:
    place, *inner = (str(part) for part in error["loc"])
    field = ".".join(inner if place in _PLACES and inner else (place, *inner))
    missing = error["type"] == "missing"  # its input is all that was given
    return Problem(
        code=error["type"],
        detail=f"{field}: {error['msg'].removeprefix('Value error, ')}",
        column=field,
        value=None if missing else str(error["input"])[:200],
    )


def install(app: FastAPI) -> None:
    """Answer every error with a problem."""
    for kind in STATUSES:
        app.add_exception_handler(kind, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unforeseen)

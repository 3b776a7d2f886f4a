"""Every refusal as RFC 9457 problem+json; the one place that knows which error is which HTTP status."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from imgsvc.api.middleware.body_sizes import why_too_large
from imgsvc.api.middleware.browser_headers import ANSWER
from imgsvc.api.middleware.request_ids import HEADER, request_id_of
from imgsvc.api.problems.types import STATUSES, TITLES, ProblemDetails, ProblemError, type_of
from imgsvc.errors import ImgsvcError, Problem, Refusal, TooMany, Unauthorized
from imgsvc.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_LISTED = 100
_PLACES = ("path", "query", "header", "body")
RETRY_AFTER = 5
"""Seconds after which a part that is away is worth another try."""


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
        type=type_of(code),
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        request_id=request_id_of(request.scope),
        errors=[ProblemError(**asdict(error)) for error in errors[:MAX_LISTED]],
        errors_total=max(errors_total, len(errors)),
    )
    # A 500 is made outside of our middlewares, so what they put on is put on here too.
    return ProblemResponse(body.model_dump(), status, {**ANSWER, **(headers or {}), HEADER: body.request_id})


def too_large(request: Request, max_upload_bytes: int) -> JSONResponse:
    """The refusal of a body that is larger than this request's may be."""
    code, title = TITLES[413]
    return problem(request, 413, code=code, title=title, detail=why_too_large(request.scope, max_upload_bytes))


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
        headers=_headers(error, status),
    )


def _headers(error: Exception, status: int) -> Mapping[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="imgsvc"'}
    if isinstance(error, TooMany):
        return {"Retry-After": str(ceil(error.retry_after)), **error.headers}
    return {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Starlette's own: no such path, wrong method, body too large or unreadable."""
    assert isinstance(error, HTTPException)  # noqa: S101  # what it is registered for
    if error.status_code == 413:
        return too_large(request, request.app.state.settings.max_upload_bytes)
    code, title = TITLES.get(error.status_code, ("refused", str(error.detail)))
    detail, headers = str(error.detail), error.headers
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}; /docs shows what there is."
    elif error.status_code == 405:
        headers = {**(headers or {}), **_allowed(request)}
        detail = f"{request.method} is not allowed here; allowed: {headers.get('Allow', 'see /docs')}."
    return problem(request, error.status_code, code=code, title=title, detail=detail, headers=headers)


def _allowed(request: Request) -> Mapping[str, str]:
    """All methods of the path: Starlette tells those of the first route that it finds."""
    routes = [route for route in request.app.state.routes if route.path_regex.match(request.url.path)]
    methods = sorted({method for route in routes for method in route.methods})
    return {"Allow": ", ".join(methods)} if methods else {}


async def _validation(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own: path and query parameters."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what it is registered for
    found = error.errors()
    errors = from_pydantic(found[:MAX_LISTED])
    code, title = TITLES[422]
    return problem(
        request, 422, code=code, title=title, detail=errors[0].detail, errors=errors, errors_total=len(found)
    )


async def _left(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  # a handler's signature
    """The client hung up in the middle of its upload; nobody reads this answer."""
    log.info("client_disconnected", path=request.url.path)
    return await _http(request, HTTPException(400, "The body ended before it was complete."))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error.__cause__, ImgsvcError):  # in the middle of an answer: it is cut off, and seen to be
        log.warning("response_cut_off", error=repr(error.__cause__), path=request.url.path)
    else:
        log.error("unhandled_error", exc_info=error, path=request.url.path, request_id=request_id_of(request.scope))
    return await _http(request, HTTPException(500, "The server's log has the details."))


def from_pydantic(errors: Sequence[Any]) -> list[Problem]:
    """pydantic's findings as problems; `column` is the field, and the way into it where its value is JSON."""
    return [_from_pydantic(error) for error in errors]


def _from_pydantic(error: Any) -> Problem:
    place, *inner = (str(part) for part in error["loc"])
    field = ".".join(inner if place in _PLACES and inner else (place, *inner))[:200]
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

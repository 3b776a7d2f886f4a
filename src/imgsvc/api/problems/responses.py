"""Turns every error into an RFC 9457 problem+json response; the handlers that FastAPI calls."""

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

from imgsvc.api.middleware.body_sizes import too_large_detail
from imgsvc.api.middleware.browser_headers import NON_HTML_HEADERS
from imgsvc.api.middleware.request_ids import HEADER, request_id_of
from imgsvc.api.problems.types import STATUSES, TITLES, ProblemDetails, ProblemError, type_of
from imgsvc.errors import ImgsvcError, Problem, Refusal, TooMany, Unauthorized
from imgsvc.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_LISTED = 100
_LOCATIONS = ("path", "query", "header", "body")
RETRY_AFTER = 5
"""Seconds to wait before a retry when a component is unavailable."""


class ProblemResponse(JSONResponse):
    """A response that quotes the input; lone surrogates, which JSON can contain, become question marks."""

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
    """Build the response that describes the problem."""
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
    # A 500 is created outside of our middlewares, so their headers are added here as well.
    return ProblemResponse(body.model_dump(), status, {**NON_HTML_HEADERS, **(headers or {}), HEADER: body.request_id})


def too_large(request: Request, max_upload_bytes: int) -> JSONResponse:
    """Build the 413 for a body that is larger than this request allows."""
    code, title = TITLES[413]
    return problem(request, 413, code=code, title=title, detail=too_large_detail(request.scope, max_upload_bytes))


async def _handle_imgsvc_error(request: Request, error: Exception) -> JSONResponse:
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


async def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer Starlette's errors: unknown path, wrong method, body too large or malformed."""
    assert isinstance(error, HTTPException)  # noqa: S101  # the type that it is registered for
    if error.status_code == 413:
        return too_large(request, request.app.state.settings.max_upload_bytes)
    code, title = TITLES.get(error.status_code, ("refused", str(error.detail)))
    detail, headers = str(error.detail), error.headers
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}; see /docs for the available paths."
    elif error.status_code == 405:
        headers = {**(headers or {}), **_allow_header(request)}
        detail = f"{request.method} is not allowed for this path; allowed: {headers.get('Allow', 'see /docs')}."
    return problem(request, error.status_code, code=code, title=title, detail=detail, headers=headers)


def _allow_header(request: Request) -> Mapping[str, str]:
    """Return all methods of the path; Starlette lists only those of the first matching route."""
    routes = [route for route in request.app.state.routes if route.path_regex.match(request.url.path)]
    methods = sorted({method for route in routes for method in route.methods})
    return {"Allow": ", ".join(methods)} if methods else {}


async def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Answer FastAPI's errors of path and query parameters, headers and JSON bodies."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # the type that it is registered for
    found = error.errors()
    errors = from_pydantic(found[:MAX_LISTED])
    code, title = TITLES[422]
    return problem(
        request, 422, code=code, title=title, detail=errors[0].detail, errors=errors, errors_total=len(found)
    )


async def _handle_disconnect(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  # a handler's signature
    """Log that the client disconnected during its upload; the response reaches no one."""
    log.info("client_disconnected", path=request.url.path)
    return await _handle_http_exception(request, HTTPException(400, "The body ended before it was complete."))


async def _handle_unexpected(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error.__cause__, ImgsvcError):  # during the response: it is cut off, and the client notices
        log.warning("response_cut_off", error=repr(error.__cause__), path=request.url.path)
    else:
        log.error("unhandled_error", exc_info=error, path=request.url.path, request_id=request_id_of(request.scope))
    detail = "An unexpected error occurred; the server's log has the details under this `request_id`."
    return await _handle_http_exception(request, HTTPException(500, detail))


def from_pydantic(errors: Sequence[Any]) -> list[Problem]:
    """Convert pydantic's errors to problems; `column` is the field, with the path into it if its value is JSON."""
    return [_from_pydantic(error) for error in errors]


def _from_pydantic(error: Any) -> Problem:
    location, *path = (str(part) for part in error["loc"])
    field = ".".join(path if location in _LOCATIONS and path else (location, *path))[:200]
    missing = error["type"] == "missing"  # then pydantic's input is the whole body
    return Problem(
        code=error["type"],
        detail=f"{field}: {error['msg'].removeprefix('Value error, ')}",
        column=field,
        value=None if missing else str(error["input"])[:200],
    )


def install(app: FastAPI) -> None:
    """Register the handlers, so that every error is answered with a problem."""
    for kind in STATUSES:
        app.add_exception_handler(kind, _handle_imgsvc_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)
    app.add_exception_handler(Exception, _handle_unexpected)

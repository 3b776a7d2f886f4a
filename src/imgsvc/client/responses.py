"""Responses and httpx's exceptions translated into the client's models and errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic import ValidationError

from imgsvc.client.errors import (
    ClientError,
    ConfigurationError,
    ConnectionLost,
    ConnectionRefused,
    UnexpectedResponse,
    refusal_type,
)
from imgsvc.client.problems import ApiModel, Problem

M = TypeVar("M", bound=ApiModel)


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Raise httpx's exceptions inside the block as `ClientError`."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise _client_error(exc, url) from exc


def _client_error(exc: Exception, url: str) -> ClientError:
    reason = str(exc) or type(exc).__name__
    if "CERTIFICATE" in reason.upper():
        return ConfigurationError(f"The connection to {url} is not secure: {reason}")
    kind: type[ClientError] = ConnectionLost
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
        kind = ConfigurationError
    elif isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        kind = ConnectionRefused
    if kind is ConnectionLost:
        return ConnectionLost(f"The connection to {url} was lost ({reason}).")
    return kind(
        f"No imgsvc answers at {url} ({reason}). "
        "Start one with `imgsvc up`, or set its address with --url or IMGSVC_URL."
    )


def check_response(response: httpx.Response, url: str, media_type: str = "") -> httpx.Response:
    """Return the response if it is a successful one of the expected media type.

    Raises:
        RequestRefused: the response is an error.
        UnexpectedResponse: a redirect (for example to a login page), or another media type.
    """
    if response.is_error:
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:  # the page of a proxy
            problem = Problem()
        error_type = refusal_type(response.status_code)
        raise error_type(response.status_code, problem, retry_after=_retry_after(response))
    if response.has_redirect_location:
        raise UnexpectedResponse(
            f"The server at {url} is not an imgsvc: it redirects to {response.headers['Location']}."
        )
    is_empty = response.status_code in {httpx.codes.NOT_MODIFIED, httpx.codes.NO_CONTENT}
    if not is_empty and not (response.is_success and response.headers.get("Content-Type", "").startswith(media_type)):
        raise _not_imgsvc(url)
    return response


def parse(model: type[M], content: bytes | str, url: str) -> M:
    """Parse JSON from the server into a model.

    Raises:
        UnexpectedResponse: the content does not match the model.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as exc:
        raise _not_imgsvc(url) from exc


def _not_imgsvc(url: str) -> ClientError:
    return UnexpectedResponse(f"The server at {url} is not an imgsvc.")


def _retry_after(response: httpx.Response) -> float | None:
    """Return `Retry-After` in seconds (RFC 9110 §10.2.3: a number, or a date, which proxies send)."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # missing, neither of the two, or a date without a time zone
        return None

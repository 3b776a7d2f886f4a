"""What an answer means: a model, or an error of ours; and what httpx raises, in our words."""

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
    kind_of_refusal,
)
from imgsvc.client.problems import Problem, Wire

W = TypeVar("W", bound=Wire)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What httpx raises inside the block comes out as an error of ours."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise _meaning(exc, url) from exc


def _meaning(exc: Exception, url: str) -> ClientError:
    reason = str(exc) or type(exc).__name__
    if "CERTIFICATE" in reason.upper():
        return ConfigurationError(f"The connection to {url} is not safe: {reason}")
    kind: type[ClientError] = ConnectionLost
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
        kind = ConfigurationError
    elif isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        kind = ConnectionRefused
    if kind is ConnectionLost:
        return ConnectionLost(f"The connection to {url} broke off ({reason}).")
    return kind(
        f"No imgsvc answers at {url} ({reason}). "
        "Start one with `imgsvc up`, or say where it is with --url or IMGSVC_URL."
    )


def require(answer: httpx.Response, url: str, media_type: str = "") -> httpx.Response:
    """The answer, if it is one that was asked for.

    Raises:
        RequestRefused: the server says no.
        UnexpectedResponse: a redirect (to a login page, say), or another media type than the one asked for.
    """
    if answer.is_error:
        try:
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:  # a page of something on the way
            problem = Problem()
        refusal = kind_of_refusal(answer.status_code)
        raise refusal(answer.status_code, problem, retry_after=_retry_after(answer))
    if answer.has_redirect_location:
        raise UnexpectedResponse(f"What answers at {url} is no imgsvc: it leads to {answer.headers['Location']}.")
    is_empty = answer.status_code in {httpx.codes.NOT_MODIFIED, httpx.codes.NO_CONTENT}
    if not is_empty and not (answer.is_success and answer.headers.get("Content-Type", "").startswith(media_type)):
        raise unexpected(url)
    return answer


def read(model: type[W], content: bytes | str, url: str) -> W:
    """A model from JSON that the server sent.

    Raises:
        UnexpectedResponse: it is something else.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as exc:
        raise unexpected(url) from exc


def unexpected(url: str) -> ClientError:
    return UnexpectedResponse(f"What answers at {url} is no imgsvc.")


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds (RFC 9110 §10.2.3: a number, or a date, as proxies send)."""
    value = answer.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # none, neither of the two, or a date without a zone
        return None

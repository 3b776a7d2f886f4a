"""Calls of the API as a careful client makes them: repeated while it is unavailable, with every answer checked."""

import asyncio
import io
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx
from PIL import Image

MAX_OUTAGE = 180.0
"""Seconds that the service may be unavailable; every fault is much shorter."""
PAUSE = 0.25
_UNAVAILABLE = (httpx.NetworkError, httpx.RemoteProtocolError)


class Violation(Exception):
    """A broken promise; the message names it."""


@dataclass
class Calls:
    """API calls that count repeats and their reasons. `client` follows redirects: images may be on another server."""

    client: httpx.AsyncClient
    made: int = 0
    repeated: Counter[str] = field(default_factory=Counter)

    async def call(self, method: str, path: str, *expected: int, **request: Any) -> tuple[httpx.Response, int]:
        """Return the answer, whose status must be one of `expected`, and the number of lost tries before it.

        Each of those may have taken effect: a connection, to us or to the database, can break just after the commit.
        """
        deadline = monotonic() + MAX_OUTAGE
        lost = 0
        while True:
            answer = await self._once(method, path, **request)
            if isinstance(answer, httpx.Response) and answer.status_code != 503:
                break
            lost += 1
            self.repeated[answer if isinstance(answer, str) else "503"] += 1
            if monotonic() > deadline:
                raise Violation(f"{method} {path}: no answer within {MAX_OUTAGE:g} s, finally {answer}")
            await asyncio.sleep(PAUSE)
        if answer.status_code not in expected:
            raise Violation(f"{method} {path} was answered with {answer.status_code}, not {expected}: {answer.text}")
        return answer, lost

    async def image(self, url: str) -> tuple[int, int]:
        """Fetch and decode a rendition, and return its size."""
        answer, _ = await self.call("GET", url, 200)
        try:
            image = Image.open(io.BytesIO(answer.content))
            image.load()
        except OSError as error:
            raise Violation(f"{url} cannot be opened: {error}") from error
        return image.size

    async def _once(self, method: str, path: str, **request: Any) -> httpx.Response | str:
        """Return the answer, or the reason why it was lost."""
        self.made += 1
        try:
            answer = await self.client.request(method, path, **request)
        except _UNAVAILABLE as error:
            return type(error).__name__
        except httpx.TimeoutException as error:
            raise Violation(f"{method} {path} hung: {error!r}") from error
        if answer.history and answer.is_server_error:  # from the storage that the API redirects to
            return f"{answer.status_code} of the storage"
        if answer.status_code == 503:
            _check_503(answer, f"{method} {path}")
        return answer


def _check_503(answer: httpx.Response, call: str) -> None:
    if not answer.headers.get("Retry-After"):
        raise Violation(f"{call} was answered with 503 without Retry-After: {answer.text}")
    if answer.headers.get("Content-Type") != "application/problem+json":
        raise Violation(f"{call} was answered with 503 that is no problem document: {answer.headers} {answer.text}")

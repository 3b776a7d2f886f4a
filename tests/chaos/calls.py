"""Calls of the API as a careful client makes them: repeated while the service is away, never content with nonsense."""

import asyncio
import io
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx
from PIL import Image

PATIENCE = 180.0
"""Seconds that the service may be away; every fault is over long before."""
PAUSE = 0.25
_AWAY = (httpx.NetworkError, httpx.RemoteProtocolError)


class Violation(Exception):
    """A promise was broken; the message says which."""


@dataclass
class Calls:
    """Counts what had to be repeated, and why. `client` follows redirects: images may lie elsewhere."""

    client: httpx.AsyncClient
    made: int = 0
    repeated: Counter[str] = field(default_factory=Counter)

    async def call(self, method: str, path: str, *expected: int, **request: Any) -> tuple[httpx.Response, int]:
        """The answer, whose status must be one of `expected`, and how many tries were lost before it.

        Each of those may have had its effect: a connection can break, to us or to the database, just after the commit.
        """
        deadline = monotonic() + PATIENCE
        lost = 0
        while True:
            answer = await self._once(method, path, **request)
            if isinstance(answer, httpx.Response) and answer.status_code != 503:
                break
            lost += 1
            self.repeated[answer if isinstance(answer, str) else "503"] += 1
            if monotonic() > deadline:
                raise Violation(f"{method} {path}: no answer within {PATIENCE:g} s, at last {answer}")
            await asyncio.sleep(PAUSE)
        if answer.status_code not in expected:
            raise Violation(f"{method} {path} was answered with {answer.status_code}, not {expected}: {answer.text}")
        return answer, lost

    async def image(self, url: str) -> tuple[int, int]:
        """The size of a rendition that can be had and opened."""
        answer, _ = await self.call("GET", url, 200)
        try:
            image = Image.open(io.BytesIO(answer.content))
            image.load()
        except OSError as error:
            raise Violation(f"{url} cannot be opened: {error}") from error
        return image.size

    async def _once(self, method: str, path: str, **request: Any) -> httpx.Response | str:
        """The answer, or how it was lost."""
        self.made += 1
        try:
            answer = await self.client.request(method, path, **request)
        except _AWAY as error:
            return type(error).__name__
        except httpx.TimeoutException as error:
            raise Violation(f"{method} {path} hung: {error!r}") from error
        if answer.history and answer.is_server_error:  # not ours, but the storage that we redirect to
            return f"{answer.status_code} of the storage"
        if answer.status_code == 503:
            _check_503(answer, f"{method} {path}")
        return answer


def _check_503(answer: httpx.Response, call: str) -> None:
    if not answer.headers.get("Retry-After"):
        raise Violation(f"{call} was answered with 503 without Retry-After: {answer.text}")
    if answer.headers.get("Content-Type") != "application/problem+json":
        raise Violation(f"{call} was answered with 503 that is no problem: {answer.headers} {answer.text}")

"""Origins that serve everyone in the end, but not all at once: each says so in another way."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from aiohttp import web

from support.origin_server import Server, image_bytes

SIZE = (64, 48)
"""The size of every image."""


@dataclass
class PacedOrigin(Server):
    """An origin with the same image at every path."""

    refused: int = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/{any:.*}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        return web.Response(body=image_bytes(*SIZE), content_type="image/jpeg")


@dataclass
class AllowsRate(PacedOrigin):
    """Answers 429 beyond `rate` requests per second."""

    rate: float = 20
    burst: float = 10
    _allowance: float = 10
    _since: float = field(default_factory=monotonic)

    async def _serve(self, request: web.Request) -> web.Response:
        now = monotonic()
        self._allowance = min(self.burst, self._allowance + (now - self._since) * self.rate)
        self._since = now
        if self._allowance < 1:
            self.refused += 1
            return web.Response(status=429)
        self._allowance -= 1
        return await super()._serve(request)


@dataclass
class WorksInOrder(PacedOrigin):
    """Takes every request, and works on two at a time for a quarter of a second each, even if the client has gone."""

    _workers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    _work: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, request: web.Request) -> web.Response:
        work = asyncio.create_task(self._resize())
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        await asyncio.shield(work)
        return await super()._serve(request)

    async def _resize(self) -> None:
        async with self._workers:
            await asyncio.sleep(0.25)


@dataclass
class ResetsBeyondEight(PacedOrigin):
    """Takes eight requests at a time for 0.15 seconds each, and resets the connections of the rest."""

    _inside: int = 0

    async def _serve(self, request: web.Request) -> web.Response:
        if self._inside >= 8:
            self.refused += 1
            _reset(request)
            return web.Response()
        self._inside += 1
        try:
            await asyncio.sleep(0.15)
            return await super()._serve(request)
        finally:
            self._inside -= 1


@dataclass
class Redirects(PacedOrigin):
    """Redirects to an origin that allows a rate."""

    target: PacedOrigin = field(default_factory=PacedOrigin)

    async def _serve(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": self.target.url(request.path)})


def _reset(request: web.Request) -> None:
    """Close the connection with RST, as a server does that is out of room."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


@asynccontextmanager
async def paced_origins() -> AsyncIterator[Mapping[str, PacedOrigin]]:
    """Run one origin of each kind; yield them by name."""
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(AllowsRate())
        origins = {
            "allows a rate": AllowsRate(),
            "works in order": WorksInOrder(),
            "resets beyond eight": ResetsBeyondEight(),
            "redirects": Redirects(target=behind),
        }
        for origin in origins.values():
            await stack.enter_async_context(origin)
        yield origins

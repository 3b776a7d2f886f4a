"""Servers on loopback: an origin that can misbehave in many ways, and a listener for webhooks.

Both run in the event loop of the test on real sockets of 127.0.0.1, so other processes can call them too.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Self

from aiohttp import web
from PIL import Image

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@cache
def image_bytes(width: int = 64, height: int = 48, kind: str = "JPEG") -> bytes:
    """Return a small gradient in one of Pillow's formats."""
    file = BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(file, kind)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; `path` includes the query and is not decoded, `peer` identifies the connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Served:
    body: bytes
    headers: dict[str, str]
    status: int
    delay: float
    wait: Callable[[], Awaitable[object]] | None
    not_modified_for: str | None


@dataclass
class Server:
    """A web server on a free port: `async with OriginServer() as origin: origin.url("/a.jpg")`."""

    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    accepted: int = 0  # connections, including those without a request

    def routes(self) -> Iterable[web.RouteDef]:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._record], client_max_size=2**26)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        # backlog: clients that connect while this process is stopped for a moment must not notice
        self._listener = await loop.create_server(self._accept, self.host, self.port, ssl=self.tls, backlog=1_000)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        self.accepted += 1
        server = self._runner.server
        assert server is not None
        return server()

    @property
    def connections(self) -> int:
        """The number of connections that the requests so far used."""
        return len({request.peer for request in self.requests})

    def url(self, path: str, *, host: str | None = None) -> str:
        return f"{'https' if self.tls else 'http'}://{host or self.host}:{self.port}{path}"

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.get_extra_info("peername")[:2]
        received = Received(request.method, request.raw_path, request.headers, await request.read(), peer)
        self.requests.append(received)
        return await handler(request)


@dataclass
class OriginServer(Server):
    """An origin: serves what was passed to `serve`, misbehaves at the paths of `routes`, and sends 404 for the rest."""

    def __post_init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._failures: Counter[str] = Counter()

    def serve(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str = "image/jpeg",
        headers: Mapping[str, str] | None = None,
        status: int = 200,
        delay: float = 0.0,
        wait: Callable[[], Awaitable[object]] | None = None,
        not_modified_for: str | None = None,
    ) -> str:
        """Serve this response at `path` (with its query, not decoded) after `delay` seconds and `wait`; return its URL.

        If the headers contain an ETag, a matching If-None-Match gets a 304. `not_modified_for` is another tag, or the
        date in an If-Modified-Since, that gets one too.
        """
        all_headers = {"Content-Type": content_type, **(headers or {})}
        self._served[path] = Served(body, all_headers, status, delay, wait, not_modified_for)
        return self.url(path)

    def hits(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.route("*", "/status/{status}", self._status),
            web.route("*", "/retry-after/{status}/{value}", self._retry_after),
            web.route("*", "/flaky/{failures}", self._flaky),
            web.route("*", "/redirect/{hops}", self._redirect),
            web.route("*", "/redirect-to", self._redirect_to),
            web.route("*", "/loop", self._loop),
            web.route("*", "/no-location", self._no_location),
            web.route("*", "/slow-headers", self._never),
            web.route("*", "/drip", self._drip),
            web.route("*", "/stall", self._stall),
            web.route("*", "/endless", self._endless),
            web.route("*", "/chunked/{size}", self._chunked),
            web.route("*", "/wrong-length/{kind}", self._wrong_length),
            web.route("*", "/disconnect", self._disconnect),
            web.route("*", "/garbage", self._garbage),
            web.route("*", "/html", self._html),
            web.route("*", "/empty", self._empty),
            web.route("*", "/{any:.*}", self._serve),
        ]

    async def _serve(self, request: web.Request) -> web.Response:
        served = self._served.get(request.raw_path)
        if served is None:
            raise web.HTTPNotFound(text="no such image")
        await asyncio.sleep(served.delay)
        if served.wait:
            await served.wait()
        etag = served.headers.get("ETag")
        if etag and request.headers.get("If-None-Match") in {etag, served.not_modified_for or etag}:
            return web.Response(status=304, headers={"ETag": etag})
        date = served.headers.get("Last-Modified")
        if date and served.not_modified_for and request.headers.get("If-Modified-Since") == served.not_modified_for:
            return web.Response(status=304, headers={"Last-Modified": date})
        return web.Response(status=served.status, body=served.body, headers=served.headers)

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), body=image_bytes(), content_type="image/jpeg")

    async def _retry_after(self, request: web.Request) -> web.Response:
        headers = {"Retry-After": request.match_info["value"]}
        return web.Response(status=int(request.match_info["status"]), headers=headers)

    async def _flaky(self, request: web.Request) -> web.Response:
        """Fail the number of times in the path, counted per path and query, then always succeed."""
        self._failures[request.raw_path] += 1
        if self._failures[request.raw_path] <= int(request.match_info["failures"]):
            raise web.HTTPServiceUnavailable
        return web.Response(body=image_bytes(), content_type="image/jpeg")

    async def _redirect(self, request: web.Request) -> web.Response:
        hops = int(request.match_info["hops"])
        if hops == 0:
            return web.Response(body=image_bytes(), content_type="image/jpeg")
        return web.Response(status=302, headers={"Location": f"/redirect/{hops - 1}"})

    async def _redirect_to(self, request: web.Request) -> web.Response:
        status = int(request.query.get("status", "302"))
        return web.Response(status=status, headers={"Location": request.query["url"]})

    async def _loop(self, request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": "/loop"})

    async def _no_location(self, request: web.Request) -> web.Response:
        return web.Response(status=302)

    async def _never(self, request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """Send a byte every 20 ms, without end."""
        return await _stream(request, b"\xff", pause=0.02)

    async def _stall(self, request: web.Request) -> web.StreamResponse:
        """Send half of an image, then nothing."""
        response = web.StreamResponse(headers={"Content-Length": str(len(image_bytes()))})
        await response.prepare(request)
        await response.write(image_bytes()[: len(image_bytes()) // 2])
        return await self._never(request)

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        return await _stream(request, bytes(2**16), pause=0)

    async def _chunked(self, request: web.Request) -> web.StreamResponse:
        """Send a body of the size in the path, without Content-Length."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(bytes(int(request.match_info["size"])))
        return response

    async def _wrong_length(self, request: web.Request) -> web.StreamResponse:
        """Declare more bytes than are sent (`larger`) or fewer (`smaller`), then close the connection."""
        excess = {"larger": 1000, "smaller": -10}[request.match_info["kind"]]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image_bytes()) + excess}\r\n\r\n"
        return _raw(request, head.encode() + image_bytes())

    async def _disconnect(self, request: web.Request) -> web.StreamResponse:
        return _raw(request, b"")

    async def _garbage(self, request: web.Request) -> web.StreamResponse:
        return _raw(request, b"\x00\xffSSH-2.0 this is no HTTP\r\n\r\n")

    async def _html(self, request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><h1>Not found</h1>", content_type="text/html")

    async def _empty(self, request: web.Request) -> web.Response:
        return web.Response(content_type="image/jpeg")


@dataclass
class WebhookListener(Server):
    """A server that records every POST to any path, and responds with `statuses` in order, then with 200."""

    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thank you"

    def __post_init__(self) -> None:
        self._arrived = asyncio.Condition()

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/{any:.*}", self._receive)]

    async def _receive(self, request: web.Request) -> web.Response:
        async with self._arrived:
            status = self.statuses.pop(0) if self.statuses else 200
            self._arrived.notify_all()
        return web.Response(status=status, headers=self.headers, body=self.body)

    async def wait_for(self, posts: int, *, timeout: float = 60) -> list[Received]:  # noqa: ASYNC109  # reads best here
        """Wait for the number of `posts` and return them; TimeoutError when they do not come."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= posts)
        return list(self.requests)


async def _stream(request: web.Request, chunk: bytes, *, pause: float) -> web.StreamResponse:
    """Send `chunk` repeatedly until the client disconnects."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(chunk)
            await asyncio.sleep(pause)
    return response


def _raw(request: web.Request, data: bytes) -> web.StreamResponse:
    """Send `data` without aiohttp, and close the connection."""
    if request.transport is not None:
        request.transport.write(data)
        request.transport.close()
    return web.Response()

"""One HTTP exchange: a URL goes out as written, and whatever breaks comes back as one type of FetchError."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import httpx
import yarl
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import map_aiohttp_exceptions

from imgsvc.adapters.http.address_guard import refusals
from imgsvc.adapters.http.connector import ExcessData
from imgsvc.errors import (
    BlockedAddress,
    BodyTooLarge,
    ConnectError,
    ConnectTimeout,
    DnsError,
    FetchError,
    InvalidUrl,
    ReadTimeout,
    TlsError,
)

HOST = re.compile(rb"[A-Za-z0-9._:-]+")  # as httpx encodes it: names in their xn-- form, IPv6 without brackets
MAX_RETRY_AFTER = 3600.0  # seconds
PARTIAL = 206

# What httpx, aiohttp, and the sockets below raise. RuntimeError: a connection that closes while it is read; ValueError:
# a header or host that cannot be encoded.
BROKEN = (httpx.HTTPError, aiohttp.ClientError, OSError, RuntimeError, ValueError)

# The first match names the error; ConnectError is everything else: refused, reset, cut short, or no HTTP at all.
NAMES: tuple[tuple[type[Exception], type[FetchError]], ...] = (
    (ExcessData, BodyTooLarge),
    (aiohttp.InvalidURL, InvalidUrl),
    (aiohttp.ClientConnectorDNSError, DnsError),
    (aiohttp.ClientSSLError, TlsError),
    (aiohttp.ConnectionTimeoutError, ConnectTimeout),
    (TimeoutError, ReadTimeout),
    (Exception, ConnectError),
)


def named(exc: Exception) -> FetchError:
    """Judge by aiohttp's error: httpx-aiohttp reports nearly all of them as ConnectTimeout, with the truth as cause."""
    truth = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ else exc
    return next(name for kind, name in NAMES if isinstance(truth, kind))()


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """An http(s) URL, or a reference relative to `base`, as it can be called.

    Raises:
        InvalidUrl: white space, control characters, userinfo, another scheme, no host or an impossible one.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
        host = url.raw_host
    except (httpx.InvalidURL, ValueError) as exc:
        raise InvalidUrl from exc
    there = HOST.fullmatch(host) and (url.port is None or 0 < url.port < 65536)
    if " " in text or url.scheme not in {"http", "https"} or url.userinfo or not there:
        raise InvalidUrl
    return url


class VerbatimTransport(AiohttpTransport):
    """httpx-aiohttp's transport, except that a URL is sent as it is written.

    The original hands aiohttp a string, which yarl quotes anew: `%2F` in a query becomes `/`, and the signature of a
    presigned URL (S3, GCS, Firebase) no longer matches.
    """

    def __init__(self, session: aiohttp.ClientSession, tls: ssl.SSLContext, *, proxy: str | None = None) -> None:
        super().__init__(verify=tls, client=session)
        self._session = session
        self._proxy = proxy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with map_aiohttp_exceptions():
            response = await self._session.request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=request.headers,
                data=await request.aread() or None,
                allow_redirects=False,
                proxy=self._proxy,
            )
        return httpx.Response(response.status, headers=response.raw_headers, stream=ChunkStream(response))


class ChunkStream(httpx.AsyncByteStream):
    """The body in the pieces that the socket gave; cut to httpx-aiohttp's 16 kB it costs a quarter more CPU."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.next():
            yield piece

    async def next(self) -> bytes:
        """What has arrived, at least a byte; empty at the end."""
        return await self._response.content.readany()

    async def aclose(self) -> None:
        await self._response.__aexit__(None, None, None)


@asynccontextmanager
async def exchange(
    transport: httpx.AsyncBaseTransport,
    method: str,
    url: httpx.URL,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> AsyncIterator[httpx.Response]:
    """Send a bare request and close the answer at the end; a connection whose answer was not read is not used again."""
    request = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(body))
    with refusals() as refused:
        try:
            response = await transport.handle_async_request(request)
        except BROKEN as exc:
            raise (BlockedAddress() if refused else named(exc)) from exc
    try:
        yield response
    finally:
        await response.aclose()


async def next_piece(response: httpx.Response) -> bytes:
    """What has arrived of the body, empty at its end; shorter than announced is a ConnectError.

    Straight from the socket's buffer: through httpx's iterators the pieces of a photo cost as much CPU as all the rest.
    """
    assert isinstance(response.stream, ChunkStream)  # noqa: S101  # of `exchange`
    try:
        return await response.stream.next()
    except BROKEN as exc:
        raise named(exc) from exc


def is_part(response: httpx.Response) -> bool:
    """Whether it has a part of the body, for which nobody asked; some servers send the whole one as 206."""
    range_sent = re.fullmatch(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("content-range", ""))
    return response.status_code == PARTIAL and not (range_sent and int(range_sent[1]) + 1 == int(range_sent[2]))


def declared_length(headers: httpx.Headers) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds from now, from either form of Retry-After (RFC 9110 §10.2.3), within an hour."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value) if re.fullmatch(r"-?[0-9.]+", value) else _seconds_until(value)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def _seconds_until(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()

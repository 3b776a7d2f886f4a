"""One HTTP exchange: the URL is sent as written, and every failure becomes one type of FetchError."""

import re
import socket
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

from imgsvc.adapters.http.address_guard import collect_refused_addresses
from imgsvc.adapters.http.connector import ExcessData
from imgsvc.errors import (
    BlockedAddress,
    BodyTooLarge,
    ConnectError,
    ConnectTimeout,
    DnsError,
    FetchError,
    HostNotFound,
    InvalidUrl,
    ReadTimeout,
    TlsError,
)

HOST = re.compile(rb"[A-Za-z0-9._:-]+")  # as httpx encodes hosts: names in xn-- form, IPv6 without brackets
MAX_RETRY_AFTER = 3600.0  # seconds
PARTIAL = 206
UNKNOWN_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
"""getaddrinfo's errors for a name that does not exist or has no address."""

# Errors of httpx, aiohttp and sockets. RuntimeError: a connection that closes while it is read; ValueError: a header
# or host that cannot be encoded.
TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError, RuntimeError, ValueError)

# The first match counts. ConnectError is for everything else: refused, reset, cut short, or no HTTP at all.
TRANSLATIONS: tuple[tuple[type[Exception], type[FetchError]], ...] = (
    (ExcessData, BodyTooLarge),
    (aiohttp.InvalidURL, InvalidUrl),
    (aiohttp.ClientConnectorDNSError, DnsError),
    (aiohttp.ClientSSLError, TlsError),
    (aiohttp.ConnectionTimeoutError, ConnectTimeout),
    (TimeoutError, ReadTimeout),
    (Exception, ConnectError),
)


def translate(exc: Exception) -> FetchError:
    """Return the FetchError for `exc`.

    aiohttp's error decides: httpx-aiohttp reports nearly all of them as ConnectTimeout, with the original as the cause.
    """
    original = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ else exc
    if isinstance(original, aiohttp.ClientConnectorDNSError) and original.os_error.errno in UNKNOWN_NAME:
        return HostNotFound()
    return next(error for kind, error in TRANSLATIONS if isinstance(original, kind))()


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Parse an http(s) URL, or a reference relative to `base`.

    Raises:
        InvalidUrl: white space, control characters, userinfo, another scheme, or a missing or impossible host.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
        host = url.raw_host
    except (httpx.InvalidURL, ValueError) as exc:
        raise InvalidUrl from exc
    is_valid_host = HOST.fullmatch(host) and (url.port is None or 0 < url.port < 65536)
    if " " in text or url.scheme not in {"http", "https"} or url.userinfo or not is_valid_host:
        raise InvalidUrl
    return url


class VerbatimTransport(AiohttpTransport):
    """httpx-aiohttp's transport, except that it sends URLs as they are written.

    The original passes a string to aiohttp, and yarl quotes it again: `%2F` in a query becomes `/`, and the signature
    of a presigned URL (S3, GCS, Firebase) no longer matches.
    """

    def __init__(self, session: aiohttp.ClientSession, tls: ssl.SSLContext, *, proxy: str | None = None) -> None:
        super().__init__(verify=tls, client=session)
        self._session = session
        self._proxy = proxy

    def clear_dns_cache(self) -> None:
        """Forget the resolved names, which aiohttp keeps for ten seconds."""
        if isinstance(self._session.connector, aiohttp.TCPConnector):
            self._session.connector.clear_dns_cache()

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
    """The body in chunks as they arrive at the socket; httpx-aiohttp's 16 kB chunks cost a quarter more CPU."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.next():
            yield chunk

    async def next(self) -> bytes:
        """Return the bytes that have arrived, at least one; empty at the end."""
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
    """Send a request and yield its response; the connection is not reused unless the response was read to its end."""
    request = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(body))
    with collect_refused_addresses() as refused:
        try:
            response = await transport.handle_async_request(request)
        except TRANSPORT_ERRORS as exc:
            raise (BlockedAddress() if refused else translate(exc)) from exc
    try:
        yield response
    finally:
        await response.aclose()


async def next_chunk(response: httpx.Response) -> bytes:
    """Return the bytes of the body that have arrived; empty at its end.

    They come straight from the socket's buffer: httpx's iterators would double the CPU cost of fetching a photo.

    Raises:
        FetchError: the connection broke; a body shorter than declared is a ConnectError.
    """
    assert isinstance(response.stream, ChunkStream)  # noqa: S101  # `exchange` creates no other
    try:
        return await response.stream.next()
    except TRANSPORT_ERRORS as exc:
        raise translate(exc) from exc


def is_partial(response: httpx.Response) -> bool:
    """Return whether the response is an unrequested part of the body; some servers send the whole body as 206."""
    content_range = re.fullmatch(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("content-range", ""))
    return response.status_code == PARTIAL and not (
        content_range and int(content_range[1]) + 1 == int(content_range[2])
    )


def declared_length(headers: httpx.Headers) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds in Retry-After, in either form (RFC 9110 §10.2.3), at most an hour; None if there are none."""
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

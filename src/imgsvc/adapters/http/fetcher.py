"""Fetches images and posts webhooks, within limits of time, size and redirects."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TypeAlias, TypeVar

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver

from imgsvc.adapters.http.address_guard import AddressGuard, ThreadedResolver
from imgsvc.adapters.http.body import read_body, read_excerpt
from imgsvc.adapters.http.connector import SafeConnector
from imgsvc.adapters.http.hops import Unlimited
from imgsvc.adapters.http.transport import VerbatimTransport, exchange, is_partial, parse_url, retry_after
from imgsvc.adapters.http.validators import conditional_headers, contradicts, validators_of
from imgsvc.domain.addresses import Network, is_allowed_via_proxy, is_metadata_name
from imgsvc.errors import (
    BlockedAddress,
    HttpStatusError,
    NotModified,
    TlsError,
    TooManyRedirects,
    TotalTimeout,
)
from imgsvc.services.ports import EndpointResponse, Fetched, Hops, MemoryBudget, Validators

NOT_MODIFIED = 304
REDIRECTS = frozenset({301, 302, 303, 307, 308})

T = TypeVar("T")
Reader: TypeAlias = Callable[[httpx.Response, httpx.URL], Awaitable[T]]
"""Reads the body of a successful response from the URL."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of fetches and posts; times in seconds, sizes in bytes.

    `read_timeout` applies between two chunks of a response, `total_timeout` to a fetch with all its redirects, and
    `webhook_timeout` to one post. `dns_timeout` applies to the resolver that Fetcher creates itself.
    """

    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    total_timeout: float = 30.0
    dns_timeout: float = 5.0
    max_body_bytes: int = 32 * 2**20
    max_redirects: int = 5
    webhook_timeout: float = 15.0


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Rules for outgoing connections.

    `own_ports` are closed on this machine, even if its network is allowed. A `proxy` (a URL) resolves names itself, so
    only literal addresses can be checked here. With `downgrade`, redirects from https to http are followed.
    """

    allowed_networks: Sequence[Network] = ()
    own_ports: Collection[int] = ()
    proxy: str | None = None
    downgrade: bool = False


class Fetcher:
    """The ports `Origin` and `Endpoint`. Create one per process, inside the running event loop."""

    def __init__(
        self,
        *,
        limits: FetchLimits,
        egress: EgressPolicy,
        user_agent: str,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolver` is closed with this object; `tls` sets the trusted authorities, by default those of httpx."""
        self.limits = limits
        self._egress = egress
        self._user_agent = user_agent
        # The proxy itself may have any address.
        self._guard = None if egress.proxy else AddressGuard(egress.allowed_networks, egress.own_ports)
        self._resolver = resolver or ThreadedResolver(timeout=limits.dns_timeout)
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._images = self._transport(read_timeout=limits.read_timeout, keep_alive=True)
        # A post is never sent twice, so it must not use a connection that the server is about to close.
        self._webhooks = self._transport(read_timeout=None, keep_alive=False)

    def _transport(self, *, read_timeout: float | None, keep_alive: bool) -> VerbatimTransport:
        options = {"socket_factory": self._guard, "resolver": self._resolver, "ssl": self._tls}
        connector = SafeConnector(**options, limit=0, force_close=not keep_alive)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect_timeout, sock_read=read_timeout),
            auto_decompress=False,
            trust_env=False,
        )
        return VerbatimTransport(session, self._tls, proxy=self._egress.proxy)

    async def aclose(self) -> None:
        await self._images.aclose()
        await self._webhooks.aclose()
        await self._resolver.close()

    def clear_dns_cache(self) -> None:
        """Resolve every name again at its next use."""
        self._images.clear_dns_cache()
        self._webhooks.clear_dns_cache()

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        """GET `url`, see `services.ports.Origin`."""

        async def read(response: httpx.Response, url: httpx.URL) -> Fetched:
            body = await read_body(response, budget, limit=self.limits.max_body_bytes)
            return Fetched(body, **asdict(validators_of(response.headers, url)))

        return await self.get(url, read, validators, hops)

    async def get(self, url: str, read: Reader[T], validators: Validators | None = None, hops: Hops | None = None) -> T:
        """GET `url` and return what `read` does; redirects are followed here, so that each hop is checked.

        Raises what `services.ports.Origin.fetch` does.
        """
        target, hops = parse_url(url), hops or Unlimited()
        left = self.limits.total_timeout
        for _ in range(self.limits.max_redirects + 1):
            async with hops.request(str(target)) as note_answer:
                began = monotonic()
                try:
                    async with asyncio.timeout(left):
                        result = await self._request(target, read, validators, note_answer)
                except TimeoutError as exc:
                    raise TotalTimeout from exc
                left -= monotonic() - began
            if not isinstance(result, httpx.URL):
                return result
            target = result
        raise TooManyRedirects

    async def _request(
        self, url: httpx.URL, read: Reader[T], validators: Validators | None, note_answer: Callable[[], None]
    ) -> T | httpx.URL:
        """Send one request; return what was read, or the URL of the redirect."""
        self._check_host(url)
        conditions = conditional_headers(validators, url)
        async with exchange(self._images, "GET", url, headers=conditions) as response:
            note_answer()
            location = response.headers.get("location", "").strip().replace(" ", "%20")
            if location and response.status_code in REDIRECTS:
                return self._redirect_target(url, location)
            if not (validators and conditions and response.status_code == NOT_MODIFIED):
                if not response.is_success or is_partial(response):
                    raise HttpStatusError(response.status_code, retry_after=retry_after(response.headers))
                return await read(response, url)
            if not contradicts(response, validators):
                raise NotModified
        return await self._request(url, read, None, note_answer)

    def _redirect_target(self, url: httpx.URL, location: str) -> httpx.URL:
        target = parse_url(location, base=url)
        if (url.scheme, target.scheme) == ("https", "http") and not self._egress.downgrade:
            raise TlsError("The URL redirects from an encrypted connection (https) to an unencrypted one (http).")
        return target

    def _check_host(self, url: httpx.URL) -> None:
        host = url.raw_host.decode("ascii")  # `url.host` raises for some xn-- names
        if is_metadata_name(host) or (
            self._egress.proxy and not is_allowed_via_proxy(host, self._egress.allowed_networks)
        ):
            raise BlockedAddress

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        """POST once, see `services.ports.Endpoint`."""
        target = parse_url(url)
        self._check_host(target)
        try:
            async with asyncio.timeout(self.limits.webhook_timeout):
                async with exchange(self._webhooks, "POST", target, headers=headers, body=body) as response:
                    return EndpointResponse(
                        response.status_code, await read_excerpt(response), retry_after(response.headers)
                    )
        except TimeoutError as exc:
            raise TotalTimeout from exc

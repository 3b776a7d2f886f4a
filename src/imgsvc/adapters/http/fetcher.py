"""The outbound edge: fetch an image, post a webhook, within limits that no origin can stretch."""

import asyncio
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver

from imgsvc.adapters.http.address_guard import AddressGuard, ThreadedResolver
from imgsvc.adapters.http.body import excerpt, read_body
from imgsvc.adapters.http.connector import SafeConnector
from imgsvc.adapters.http.transport import VerbatimTransport, exchange, is_part, parse_url, retry_after
from imgsvc.adapters.http.validators import conditions_of, contradicts, url_hash, validator
from imgsvc.domain.addresses import Network, is_allowed_via_proxy, is_metadata_name
from imgsvc.errors import (
    BlockedAddress,
    HttpStatusError,
    NotModified,
    TlsError,
    TooManyRedirects,
    TotalTimeout,
)
from imgsvc.services.ports import EndpointResponse, Fetched, MemoryBudget, Validators

NOT_MODIFIED = 304
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Times in seconds, sizes in bytes.

    `read_timeout` lies between two pieces of an answer, `total_timeout` covers a fetch with all its redirects, and
    `webhook_timeout` one post. `dns_timeout` counts for the resolver that Fetcher makes itself.
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
    """What may be called, and how.

    `own_ports` are closed on this machine although a network is opened. Through a `proxy` (a URL), which looks names
    up itself, only literal addresses can be checked here. `downgrade`: redirects from https to http are followed.
    """

    allowed_networks: Sequence[Network] = ()
    own_ports: Collection[int] = ()
    proxy: str | None = None
    downgrade: bool = False


class Fetcher:
    """Both ports to the outside, Origin and Endpoint; one per process, made inside the running event loop."""

    def __init__(
        self,
        *,
        limits: FetchLimits,
        egress: EgressPolicy,
        user_agent: str,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolver` is closed with this object; `tls` says which authorities to trust, by default those of httpx."""
        self._limits = limits
        self._egress = egress
        self._user_agent = user_agent
        self._gate = (
            None if egress.proxy else AddressGuard(egress.allowed_networks, egress.own_ports)
        )  # a proxy may be anywhere
        self._resolver = resolver or ThreadedResolver(timeout=limits.dns_timeout)
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._images = self._transport(read_timeout=limits.read_timeout, keep_alive=True)
        # A post is never sent twice, so it must not go into a connection that the other side is about to close.
        self._webhooks = self._transport(read_timeout=None, keep_alive=False)

    def _transport(self, *, read_timeout: float | None, keep_alive: bool) -> VerbatimTransport:
        where = {"socket_factory": self._gate, "resolver": self._resolver, "ssl": self._tls}
        connector = SafeConnector(**where, limit=0, force_close=not keep_alive)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._limits.connect_timeout, sock_read=read_timeout
            ),
            auto_decompress=False,
            trust_env=False,
        )
        return VerbatimTransport(session, self._tls, proxy=self._egress.proxy)

    async def aclose(self) -> None:
        await self._images.aclose()
        await self._webhooks.aclose()
        await self._resolver.close()

    async def fetch(self, url: str, budget: MemoryBudget, known: Validators | None = None) -> Fetched:
        """GET `url`, see `services.ports.Origin`; redirects are followed by hand, so that each hop is checked."""
        try:
            async with asyncio.timeout(self._limits.total_timeout):
                return await self._follow(parse_url(url), budget, known)
        except TimeoutError as exc:
            raise TotalTimeout from exc

    async def _follow(self, url: httpx.URL, budget: MemoryBudget, known: Validators | None) -> Fetched:
        for _ in range(self._limits.max_redirects + 1):
            answer = await self._ask(url, budget, known)
            if isinstance(answer, Fetched):
                return answer
            url = answer
        raise TooManyRedirects

    async def _ask(self, url: httpx.URL, budget: MemoryBudget, known: Validators | None) -> Fetched | httpx.URL:
        """Send one request: the body, or the URL that it redirects to."""
        self._check_host(url)
        conditions = conditions_of(known, url)
        async with exchange(self._images, "GET", url, headers=conditions) as response:
            location = response.headers.get("location", "").strip().replace(" ", "%20")
            if location and response.status_code in REDIRECTS:
                return self._next(url, location)
            if not (known and conditions and response.status_code == NOT_MODIFIED):
                return await self._received(response, url, budget)
            if not contradicts(response, known):
                raise NotModified
        return await self._ask(url, budget, None)

    def _next(self, url: httpx.URL, location: str) -> httpx.URL:
        following = parse_url(location, base=url)
        if (url.scheme, following.scheme) == ("https", "http") and not self._egress.downgrade:
            raise TlsError("The address leads from a protected connection (https) to one that is not (http).")
        return following

    def _check_host(self, url: httpx.URL) -> None:
        host = url.raw_host.decode("ascii")  # `url.host` raises where xn-- is not to its taste
        if is_metadata_name(host) or (
            self._egress.proxy and not is_allowed_via_proxy(host, self._egress.allowed_networks)
        ):
            raise BlockedAddress

    async def _received(self, response: httpx.Response, url: httpx.URL, budget: MemoryBudget) -> Fetched:
        if not response.is_success or is_part(response):
            raise HttpStatusError(response.status_code, retry_after=retry_after(response.headers))
        return Fetched(
            body=await read_body(response, budget, limit=self._limits.max_body_bytes),
            etag=validator(response.headers, "etag"),
            last_modified=validator(response.headers, "last-modified"),
            final_url_hash=url_hash(url),
        )

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        """POST once, see `services.ports.Endpoint`."""
        target = parse_url(url)
        self._check_host(target)
        try:
            async with asyncio.timeout(self._limits.webhook_timeout):
                async with exchange(self._webhooks, "POST", target, headers=headers, body=body) as response:
                    return EndpointResponse(
                        response.status_code, await excerpt(response), retry_after(response.headers)
                    )
        except TimeoutError as exc:
            raise TotalTimeout from exc

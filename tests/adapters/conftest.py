"""Fixtures for the tests of the adapters."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import pytest

from imgsvc.adapters.http.fetcher import EgressPolicy, Fetcher
from support.origin_server import OriginServer
from support.polling import LONG_TIMEOUTS


@pytest.fixture
async def make_fetcher() -> AsyncIterator[Callable[..., Fetcher]]:
    """A factory of fetchers that call only 127.0.0.1 by default; they are closed at the end of the test.

    They trust no certificate authority, because loading the public ones takes longer than most tests; `tls=None` loads
    them.
    """
    async with AsyncExitStack() as stack:

        def make(*, allowed: tuple[str, ...] = ("127.0.0.1/32",), **options: Any) -> Fetcher:
            no_authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            networks = [ip_network(network) for network in allowed]
            egress = EgressPolicy(
                networks, **{name: options.pop(name) for name in {"own_ports", "proxy", "downgrade"} & options.keys()}
            )
            defaults = {"limits": LONG_TIMEOUTS, "user_agent": "imgsvc-test", "tls": no_authorities}
            fetcher = Fetcher(egress=egress, **{**defaults, **options})
            stack.push_async_callback(fetcher.aclose)
            return fetcher

        yield make


@pytest.fixture
async def origin() -> AsyncIterator[OriginServer]:
    async with OriginServer() as server:
        yield server

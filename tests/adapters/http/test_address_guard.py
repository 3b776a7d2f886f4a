"""No packet is sent to a forbidden address, whether a URL, DNS or a redirect leads there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from imgsvc import errors
from imgsvc.adapters.http.address_guard import ThreadedResolver
from imgsvc.adapters.http.fetcher import EgressPolicy, Fetcher, FetchLimits
from support.fetchers import FakeBudget, FakeResolver
from support.origin_server import OriginServer

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py


@pytest.fixture
async def forbidden(origin: OriginServer) -> AsyncIterator[OriginServer]:
    """An origin on an address that is not allowed, at the same port as the allowed one."""
    async with OriginServer(host="127.0.0.2", port=origin.port) as server:
        server.serve("/a.jpg", b"secret")
        yield server


@pytest.fixture
async def untouched(forbidden: OriginServer) -> AsyncIterator[OriginServer]:
    """The forbidden origin, which must not even get a connection."""
    yield forbidden
    assert forbidden.accepted == 0


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("127.0.0.2", errors.BlockedAddress),
        ("10.0.0.1", errors.BlockedAddress),
        ("169.254.169.254", errors.BlockedAddress),
        ("224.0.0.1", errors.BlockedAddress),
        ("[::1]", errors.BlockedAddress),
        ("[::]", errors.BlockedAddress),
        ("[::ffff:127.0.0.2]", errors.BlockedAddress),
        ("[::FFFF:7F00:2]", errors.BlockedAddress),
        ("[::127.0.0.1]", errors.BlockedAddress),
        ("[64:ff9b::7f00:2]", errors.BlockedAddress),
        ("[fd00:ec2::254]", errors.BlockedAddress),
        ("[fe80::1%25lo]", errors.InvalidUrl),  # a zone
        ("[::1%ü]", errors.InvalidUrl),
        ("2130706434", errors.InvalidUrl),  # 127.0.0.2 as one number
        ("017700000002", errors.InvalidUrl),
        ("0x7f000002", errors.BlockedAddress),  # getaddrinfo understands it, so the guard sees the address
        ("0x7f.2", errors.BlockedAddress),
        ("0x7f.0x0.0x0.0x2", errors.BlockedAddress),
        ("127.2", errors.InvalidUrl),
        ("0177.0.0.2", errors.InvalidUrl),
        ("127.0.0.2.", errors.InvalidUrl),
        ("0", errors.InvalidUrl),
        ("１２７.0.0.2", errors.InvalidUrl),  # full-width digits
        ("127。0。0。2", errors.BlockedAddress),  # IDNA turns ideographic full stops into ASCII ones
        ("①②⑦.0.0.2", errors.InvalidUrl),
    ],
)
async def test_no_spelling_of_an_address_passes_the_guard(
    host: str, error: type[errors.FetchError], untouched: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(error) as caught:
        await make_fetcher().fetch(untouched.url("/a.jpg", host=host), FakeBudget())
    assert not caught.value.retryable


async def test_a_name_that_resolves_to_a_refused_address_is_blocked(
    untouched: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({"shop.test": [["127.0.0.2"]]}))
    with pytest.raises(errors.BlockedAddress):
        await fetcher.fetch(untouched.url("/a.jpg", host="shop.test"), FakeBudget())


async def test_an_allowed_network_can_be_fetched_from(forbidden: OriginServer, make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(allowed=("127.0.0.0/30",), resolver=FakeResolver({"shop.test": [["127.0.0.2"]]}))
    fetched = await fetcher.fetch(forbidden.url("/a.jpg", host="shop.test"), FakeBudget())
    assert fetched.body == b"secret"


@pytest.mark.parametrize("answer", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["::1", "127.0.0.1"]])
async def test_only_the_allowed_address_of_mixed_dns_answers_is_called(
    answer: list[str], origin: OriginServer, untouched: OriginServer, make_fetcher: MakeFetcher
) -> None:
    origin.serve("/a.jpg", b"public")
    fetcher = make_fetcher(resolver=FakeResolver({"shop.test": [answer]}))
    assert (await fetcher.fetch(origin.url("/a.jpg", host="shop.test"), FakeBudget())).body == b"public"


@pytest.mark.parametrize("answer", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["::1", "127.0.0.1"]])
async def test_a_refused_address_outweighs_the_failure_of_the_others(
    answer: list[str], make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({"shop.test": [answer]}))
    with socket.socket() as unused, pytest.raises(errors.BlockedAddress):
        unused.bind(("127.0.0.1", 0))  # the allowed address refuses the connection
        await fetcher.fetch(f"http://shop.test:{unused.getsockname()[1]}/", FakeBudget())


async def test_the_refusal_of_one_fetch_does_not_affect_another(make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({"bad.test": [["127.0.0.2"]], "off.test": [["127.0.0.1"]]}))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        urls = [f"http://{name}.test:{unused.getsockname()[1]}/" for name in ("bad", "off", "none")]
        outcomes = await asyncio.gather(*(fetcher.fetch(url, FakeBudget()) for url in urls), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.BlockedAddress, errors.ConnectError, errors.HostNotFound]


async def test_a_name_that_later_resolves_to_a_refused_address_is_blocked(
    origin: OriginServer, untouched: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({"shop.test": [["127.0.0.1"], ["127.0.0.2"]]}))
    origin.serve("/a.jpg", b"public", headers={"Connection": "close"})
    assert (await fetcher.fetch(origin.url("/a.jpg", host="shop.test"), FakeBudget())).body == b"public"
    fetcher.clear_dns_cache()
    with pytest.raises(errors.BlockedAddress):
        await fetcher.fetch(untouched.url("/a.jpg", host="shop.test"), FakeBudget())


@pytest.mark.parametrize("host", ["127.0.0.2", "shop.test", "[::ffff:127.0.0.2]"])
async def test_a_redirect_passes_through_the_same_guard(
    host: str, origin: OriginServer, untouched: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({"shop.test": [["127.0.0.2"]]}))
    url = origin.serve("/a", b"", status=302, headers={"Location": untouched.url("/a.jpg", host=host)})
    with pytest.raises(errors.BlockedAddress):
        await fetcher.fetch(url, FakeBudget())


async def test_a_webhook_passes_through_the_same_guard(untouched: OriginServer, make_fetcher: MakeFetcher) -> None:
    with pytest.raises(errors.BlockedAddress):
        await make_fetcher().post(untouched.url("/a.jpg"), headers={}, body=b"{}")


@pytest.mark.parametrize("name", ["metadata.google.internal", "Metadata.Google.Internal.", "instance-data"])
async def test_a_metadata_name_is_refused_whatever_it_resolves_to(
    name: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(resolver=FakeResolver({name.lower(): [["127.0.0.1"]]}))
    target = origin.url("/latest/meta-data", host=name)
    hop = origin.serve("/a", b"", status=302, headers={"Location": target})
    for call in (
        fetcher.fetch(target, FakeBudget()),
        fetcher.fetch(hop, FakeBudget()),
        fetcher.post(target, headers={}, body=b""),
    ):
        with pytest.raises(errors.BlockedAddress):
            await call
    assert [request.path for request in origin.requests] == ["/a"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "shop.test"])
async def test_our_own_ports_are_closed_even_if_the_network_is_allowed(
    host: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    origin.serve("/a.jpg", b"public")
    names = FakeResolver({"shop.test": [["127.0.0.1"]]})
    opened = ("127.0.0.0/8", "::1/128")
    fetcher = make_fetcher(allowed=opened, own_ports=[origin.port], resolver=names)
    with pytest.raises(errors.BlockedAddress):
        await fetcher.fetch(origin.url("/a.jpg", host=host), FakeBudget())
    assert origin.accepted == 0
    other = make_fetcher(allowed=opened, own_ports=[origin.port + 1])
    assert (await other.fetch(origin.url("/a.jpg"), FakeBudget())).body == b"public"


@pytest.mark.parametrize("name", ["xn--i-7iq.test", "xn--a-.test"])
async def test_a_host_name_outside_idna_2008_is_accepted(
    name: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    """There are shops with emoji domains, which IDNA 2008 does not allow."""
    origin.serve("/a.jpg", b"here")
    fetcher = make_fetcher(resolver=FakeResolver({name: [["127.0.0.1"]]}))
    assert (await fetcher.fetch(origin.url("/a.jpg", host=name), FakeBudget())).body == b"here"
    assert (await fetcher.post(origin.url("/a.jpg", host=name), headers={}, body=b"")).status == 200


async def test_names_are_looked_up_for_both_address_families(make_fetcher: MakeFetcher, origin: OriginServer) -> None:
    origin.serve("/a.jpg", b"here")
    looked_up = []

    def lookup(host: str, port: int, **options: Any) -> list[Any]:
        looked_up.append((host, port, options["family"]))
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    fetcher = make_fetcher(resolver=ThreadedResolver(timeout=60, lookup=lookup))
    assert (await fetcher.fetch(origin.url("/a.jpg", host="bücher.test"), FakeBudget())).body == b"here"
    assert looked_up == [("xn--bcher-kva.test", origin.port, socket.AF_UNSPEC)]
    assert origin.requests[0].headers["Host"] == f"xn--bcher-kva.test:{origin.port}"


async def test_the_resolver_is_closed_with_the_client() -> None:
    names = FakeResolver({})
    await Fetcher(limits=FetchLimits(), egress=EgressPolicy(), user_agent="", resolver=names).aclose()
    assert names.closed


async def test_only_a_few_of_a_thousand_addresses_are_tried(make_fetcher: MakeFetcher) -> None:
    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        many = [(socket.AF_INET, f"10.0.{number // 250}.{number % 250}") for number in range(1_000)]
        many += [(socket.AF_INET6, f"fd00::{number:x}") for number in range(1_000)]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in many]

    resolver = ThreadedResolver(timeout=60, lookup=lookup)
    assert [each["host"] for each in await resolver.resolve("shop.test", 80)] == [
        "fd00::0", "fd00::1", "10.0.0.0", "10.0.0.1",
    ]  # fmt: skip
    with pytest.raises(errors.BlockedAddress):
        await make_fetcher(resolver=resolver).fetch("http://shop.test/a.jpg", FakeBudget())

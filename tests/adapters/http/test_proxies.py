"""Proxies: the environment's are ignored, and a configured one gives no access to internal addresses."""

from collections.abc import Callable

import pytest

from imgsvc import errors
from imgsvc.adapters.http.fetcher import Fetcher
from support.fetchers import FakeBudget, FakeResolver
from support.origin_server import OriginServer, image_bytes

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_ignored(
    name: str, origin: OriginServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with OriginServer() as proxy:
        monkeypatch.setenv(name, proxy.url(""))
        fetcher = make_fetcher()
        assert (await fetcher.fetch(origin.serve("/a.jpg", image_bytes()), FakeBudget())).body == image_bytes()
        await fetcher.post(origin.url("/hook"), headers={}, body=b"{}")
        assert proxy.accepted == 0
    assert len(origin.requests) == 2


async def test_a_configured_proxy_gets_every_request(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    """The proxy may have a forbidden address; it resolves all names, and none is looked up here."""
    url = "http://shop.test/a.jpg"
    origin.serve(url, image_bytes())
    fetcher = make_fetcher(allowed=(), proxy=origin.url(""), resolver=FakeResolver({}))
    assert (await fetcher.fetch(url, FakeBudget())).body == image_bytes()
    assert (await fetcher.post("http://shop.test/hook", headers={}, body=b"{}")).status == 404
    assert [request.path for request in origin.requests] == [url, "http://shop.test/hook"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "169.254.169.254",
        "[::1]",
        "0x7f.2",
        "metadata.google.internal",
        "127。0。0。2",
        "localhost",
        "shop.localhost.",
        "ip6-localhost",
        "0x100000001",
    ],
)
async def test_the_proxy_gets_no_request_for_an_internal_address(
    host: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(allowed=(), proxy=origin.url(""), resolver=FakeResolver({}))
    hop = "http://shop.test/hop"
    origin.serve(hop, b"", status=302, headers={"Location": f"http://{host}/a.jpg"})
    for url in (f"http://{host}/a.jpg", hop):
        with pytest.raises(errors.BlockedAddress):
            await fetcher.fetch(url, FakeBudget())
    assert [request.path for request in origin.requests] == [hop]


async def test_an_unavailable_proxy_is_a_connect_error(make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(proxy="http://127.0.0.1:9", resolver=FakeResolver({}))
    with pytest.raises(errors.ConnectError):
        await fetcher.fetch("http://shop.test/a.jpg", FakeBudget())

"""Fetching over real sockets from an origin that misbehaves in many ways."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from imgsvc import errors
from imgsvc.adapters.http.address_guard import ThreadedResolver
from imgsvc.adapters.http.fetcher import Fetcher, FetchLimits
from support.fetchers import FakeBudget
from support.origin_server import OriginServer, image_bytes
from support.polling import LONG_TIMEOUTS

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py

SHORT_CONNECT = replace(LONG_TIMEOUTS, connect_timeout=0.3)
SHORT_READ = replace(LONG_TIMEOUTS, read_timeout=0.5)
SHORT_TOTAL = replace(LONG_TIMEOUTS, total_timeout=0.5)
SMALL = replace(LONG_TIMEOUTS, max_body_bytes=2**20)


async def test_an_image_arrives_with_its_validators(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    headers = {"ETag": '"v1"', "Last-Modified": "Wed, 01 Jul 2026 10:00:00 GMT"}
    fetched = await make_fetcher().fetch(origin.serve("/a.jpg", image_bytes(), headers=headers), FakeBudget())
    assert fetched.body == image_bytes()
    assert (fetched.etag, fetched.last_modified) == ('"v1"', "Wed, 01 Jul 2026 10:00:00 GMT")


@pytest.mark.parametrize("etag", [None, "", '"' + "x" * 600 + '"', '"\u00e9"'])
async def test_a_validator_that_could_not_be_sent_back_is_dropped(
    etag: str | None, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    headers = {} if etag is None else {"ETag": etag}
    assert (await make_fetcher().fetch(origin.serve("/a.jpg", b"x", headers=headers), FakeBudget())).etag is None


async def test_the_request_identifies_the_client_and_carries_no_secrets(
    origin: OriginServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # a proxy of the environment is ignored
    fetcher = make_fetcher()
    url = origin.serve("/a.jpg", b"x", headers={"Set-Cookie": "session=1"})
    await fetcher.fetch(url, FakeBudget())
    await fetcher.fetch(url, FakeBudget())
    sent = dict(origin.requests[1].headers)
    assert sent.pop("Host") == f"127.0.0.1:{origin.port}"
    assert sent == {"User-Agent": "imgsvc-test", "Accept": "*/*", "Accept-Encoding": "identity"}


# -- one error for each failure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error", "limits"),
    [
        ("/slow-headers", errors.ReadTimeout, SHORT_READ),
        ("/stall", errors.ReadTimeout, SHORT_READ),
        ("/drip", errors.TotalTimeout, SHORT_TOTAL),
        ("/endless", errors.BodyTooLarge, SMALL),
        ("/wrong-length/larger", errors.ConnectError, LONG_TIMEOUTS),
        ("/disconnect", errors.ConnectError, LONG_TIMEOUTS),
        ("/garbage", errors.ConnectError, LONG_TIMEOUTS),
        ("/loop", errors.TooManyRedirects, LONG_TIMEOUTS),
        ("/redirect/6", errors.TooManyRedirects, LONG_TIMEOUTS),
        ("/redirect-to?url=ftp://127.0.0.1/", errors.InvalidUrl, LONG_TIMEOUTS),
        ("/redirect-to?url=http://u:p@127.0.0.1/", errors.InvalidUrl, LONG_TIMEOUTS),
        ("/redirect-to?url=http://[oops/", errors.InvalidUrl, LONG_TIMEOUTS),
        ("/redirect-to?url=http://10.0.0.1/", errors.BlockedAddress, LONG_TIMEOUTS),
    ],
)
async def test_every_failure_has_its_own_error(
    path: str, error: type[errors.FetchError], limits: FetchLimits, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(error) as caught:
        await make_fetcher(limits=limits).fetch(origin.url(path), FakeBudget())
    assert type(caught.value) is error


async def test_a_closed_port_is_a_connect_error(make_fetcher: MakeFetcher) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ConnectError):
            await make_fetcher().fetch(f"http://127.0.0.1:{unused.getsockname()[1]}/", FakeBudget())


@contextmanager
def crowded_port() -> Iterator[int]:
    """Yield a port whose accept queue is full, so that the kernel drops the next connection."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


async def test_a_server_that_does_not_accept_is_a_connect_timeout(make_fetcher: MakeFetcher) -> None:
    with crowded_port() as port, pytest.raises(errors.ConnectTimeout):
        await make_fetcher(limits=SHORT_CONNECT).fetch(f"http://127.0.0.1:{port}/", FakeBudget())


async def test_a_hanging_name_server_is_a_dns_error_in_time(make_fetcher: MakeFetcher) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        released.wait(60)
        return []

    fetcher = make_fetcher(resolver=ThreadedResolver(timeout=0.2, lookup=hang))
    with pytest.raises(errors.DnsError):
        await fetcher.fetch("http://name.test/", FakeBudget())
    released.set()


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".test"])
async def test_a_name_that_cannot_exist_is_a_dns_error(host: str, make_fetcher: MakeFetcher) -> None:
    with pytest.raises(errors.DnsError):
        await make_fetcher().fetch(f"http://{host}/", FakeBudget())


@pytest.mark.parametrize(("status", "retryable"), [(304, False), (404, False), (410, False), (425, True), (503, True)])
async def test_a_status_other_than_success_is_an_error_with_its_number(
    status: int, retryable: bool, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(errors.HttpStatusError) as caught:
        await make_fetcher().fetch(origin.url(f"/status/{status}"), FakeBudget())
    assert (caught.value.code, caught.value.http_status) == (f"http_{status}", status)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("part", ["bytes 0-9/20", "bytes 10-19/20", "bytes 0-9/*", "bytes */20", ""])
async def test_an_unrequested_part_is_not_an_image(part: str, origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    """The complete frames in a part of an animation would pass for the whole animation."""
    url = origin.serve("/a.gif", b"x" * 10, status=206, headers={"Content-Range": part} if part else {})
    with pytest.raises(errors.HttpStatusError, match="HTTP 206"):
        await make_fetcher().fetch(url, FakeBudget())


async def test_a_partial_response_with_the_whole_body_is_an_image(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    url = origin.serve("/a.jpg", b"x" * 10, status=206, headers={"Content-Range": "bytes 0-9/10"})
    assert (await make_fetcher().fetch(url, FakeBudget())).body == b"x" * 10


async def test_a_redirect_without_location_is_an_error_with_its_status(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(errors.HttpStatusError, match="HTTP 302"):
        await make_fetcher().fetch(origin.url("/no-location"), FakeBudget())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("1.5", 1.5), ("-3", 0), ("999999", 3600), ("9" * 400, 3600), ("soon", None), ("nan", None)],
)
async def test_retry_after_is_read_as_seconds_within_an_hour(
    value: str, seconds: float | None, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(errors.HttpStatusError) as caught:
        await make_fetcher().fetch(origin.url(f"/retry-after/429/{value}"), FakeBudget())
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(600, 300, 600), (-60, 0, 0), (10**6, 3600, 3600)])
async def test_retry_after_is_read_as_a_date(
    ahead: int, least: float, most: float, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    url = origin.serve("/busy", b"", status=503, headers={"Retry-After": moment})
    with pytest.raises(errors.HttpStatusError) as caught:
        await make_fetcher().fetch(url, FakeBudget())
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most


async def test_the_total_timeout_covers_all_redirects(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    for hop in range(4):
        origin.serve(f"/{hop}", b"", status=302, headers={"Location": f"/{hop + 1}"}, delay=0.2)
    with pytest.raises(errors.TotalTimeout):  # although no single hop takes that long
        await make_fetcher(limits=SHORT_TOTAL).fetch(origin.url("/0"), FakeBudget())

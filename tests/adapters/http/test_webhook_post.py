"""Posting a webhook: once, without redirects, and any status is a response."""

from collections.abc import AsyncIterator, Callable

import pytest

from imgsvc import errors
from imgsvc.adapters.http.fetcher import Fetcher, FetchLimits
from support.origin_server import OriginServer, WebhookListener

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py


@pytest.fixture
async def listener() -> AsyncIterator[WebhookListener]:
    async with WebhookListener() as server:
        yield server


async def test_a_post_arrives_byte_for_byte_with_its_headers(
    listener: WebhookListener, make_fetcher: MakeFetcher
) -> None:
    headers = {"webhook-id": "evt_1", "Content-Type": "application/json"}
    answer = await make_fetcher().post(listener.url("/hook?a=%2F"), headers=headers, body='{"ü": 1}'.encode())
    (post,) = await listener.wait_for(1)
    assert (post.method, post.path, post.body) == ("POST", "/hook?a=%2F", '{"ü": 1}'.encode())
    assert {**headers, "User-Agent": "imgsvc-test", "Content-Length": "9"}.items() <= dict(post.headers).items()
    assert (answer.status, answer.excerpt, answer.retry_after) == (200, b"thank you", None)


@pytest.mark.parametrize("status", [200, 204, 301, 302, 308, 400, 410, 429, 500, 503])
async def test_any_status_is_a_response_and_no_redirect_is_followed(
    status: int, listener: WebhookListener, make_fetcher: MakeFetcher
) -> None:
    listener.statuses, listener.headers = [status], {"Location": "/elsewhere", "Retry-After": "12"}
    answer = await make_fetcher().post(listener.url("/hook"), headers={}, body=b"{}")
    assert (answer.status, answer.retry_after) == (status, 12)
    assert len(listener.requests) == 1


async def test_the_excerpt_is_the_first_two_kilobytes(listener: WebhookListener, make_fetcher: MakeFetcher) -> None:
    listener.body = b"x" * 2048 + b"y" * 10**6
    assert (await make_fetcher().post(listener.url("/"), headers={}, body=b"{}")).excerpt == b"x" * 2048


@pytest.mark.parametrize(("path", "start"), [("/drip", b"\xff"), ("/endless", b"\x00" * 2048), ("/stall", b"\xff\xd8")])
async def test_a_response_whose_body_does_not_end_still_counts(
    path: str, start: bytes, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    answer = await make_fetcher().post(origin.url(path), headers={}, body=b"{}")
    assert answer.status == 200
    assert answer.excerpt.startswith(start)


async def test_a_post_without_a_response_times_out(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    with pytest.raises(errors.TotalTimeout):
        await make_fetcher(limits=FetchLimits(webhook_timeout=0.3)).post(
            origin.url("/slow-headers"), headers={}, body=b"{}"
        )


async def test_a_post_whose_connection_breaks_is_not_sent_twice(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(errors.ConnectError):
        await make_fetcher().post(origin.url("/disconnect"), headers={}, body=b"{}")
    assert origin.hits("/disconnect") == 1


async def test_every_post_uses_a_new_connection(listener: WebhookListener, make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher()
    for _ in range(3):
        await fetcher.post(listener.url("/"), headers={}, body=b"{}")
    assert listener.connections == 3


async def test_a_header_that_would_inject_another_is_not_sent(
    listener: WebhookListener, make_fetcher: MakeFetcher
) -> None:
    with pytest.raises(errors.FetchError):
        await make_fetcher().post(listener.url("/"), headers={"webhook-id": "1\r\nX-Injected: 1"}, body=b"{}")
    assert listener.requests == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http:///", "http://127.0.0.1/a b"])
async def test_a_post_to_an_invalid_url_is_refused(url: str, make_fetcher: MakeFetcher) -> None:
    with pytest.raises(errors.InvalidUrl):
        await make_fetcher().post(url, headers={}, body=b"{}")

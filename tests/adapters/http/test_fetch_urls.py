"""URLs: which are accepted, how they are sent, and where redirects lead."""

from collections.abc import Callable
from typing import Any

import pytest

from imgsvc import errors
from imgsvc.adapters.http.address_guard import ThreadedResolver
from imgsvc.adapters.http.fetcher import Fetcher
from support.fetchers import FakeBudget
from support.origin_server import OriginServer, image_bytes

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/o/a%2Fb.png?a=b%2Fc&token=x+y%20z", None),
        ("/%41%7e%2c?x=%2C%3D%7E%41&sig=a%2Bb%3D%3d", None),
        ("/a,b;c=d/e@f:g!$&'()*+?x=/?:@!$'()*+,;", None),
        ("/b?X-Amz-Credential=AK%2F2026%2Fs3&X-Amz-Signature=0f", None),
        ("/50%.jpg", None),
        ("/a//b/", None),
        ("?q", "/?q"),
        ("", "/"),
        ("/a.jpg#fragment", "/a.jpg"),
        ("/grün.jpg?größe=L", "/gr%C3%BCn.jpg?gr%C3%B6%C3%9Fe=L"),
    ],
)
async def test_a_url_is_sent_as_it_is_written(
    written: str, sent: str | None, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    origin.serve(sent or written, b"x")
    await make_fetcher().fetch(origin.url(written), FakeBudget())
    assert [request.path for request in origin.requests] == [sent or written]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "/a.jpg",
        "127.0.0.1/a.jpg",
        "http://",
        "http:///a.jpg",
        "http:a.jpg",
        "ftp://127.0.0.1/a.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "http://user@127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:http/",
        "http://127.0.0.1/a b.jpg",
        "http://127.0.0.1/a\r\nX-Injected: 1",
        "http://127.0.0.1/\x00",
        "http://127.0.0.1/\t",
        "http://127.0.0.1\\@10.0.0.1/",
        "http://[::1/",
        "http://[127.0.0.1]/",
        "http://256.0.0.1/",
        "http://a%20b.test/",
        "http://[fe80::1%25lo]/",
    ],
)
async def test_an_invalid_url_is_refused_without_a_dns_query(url: str, make_fetcher: MakeFetcher) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise AssertionError(url)

    fetcher = make_fetcher(resolver=ThreadedResolver(timeout=1, lookup=lookup))
    with pytest.raises(errors.InvalidUrl):
        await fetcher.fetch(url, FakeBudget())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "arrives"),
    [("/b%2Fc?d=%2F", "/b%2Fc?d=%2F"), ("b c.jpg", "/b%20c.jpg"), ("//127.0.0.1:{port}/é", "/%C3%A9"), ("?x", "/a?x")],
)
async def test_a_redirect_to_a_relative_location_is_followed(
    status: int, location: str, arrives: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    location = location.format(port=origin.port)
    origin.serve(arrives, b"here")
    url = origin.serve("/a", b"elsewhere", status=status, headers={"Location": location})
    assert (await make_fetcher().fetch(url, FakeBudget())).body == b"here"


async def test_redirects_are_followed_up_to_the_limit(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    assert (await make_fetcher().fetch(origin.url("/redirect/5"), FakeBudget())).body == image_bytes()


@pytest.mark.parametrize("status", [200, 201, 300, 304, 404])
async def test_a_location_with_any_other_status_is_not_followed(
    status: int, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    url = origin.serve("/a", b"" if status == 304 else b"here", status=status, headers={"Location": "/b"})
    try:
        outcome = (await make_fetcher().fetch(url, FakeBudget())).body.decode()
    except errors.HttpStatusError as error:
        outcome = error.code
    assert outcome == ("here" if status < 300 else f"http_{status}")
    assert len(origin.requests) == 1

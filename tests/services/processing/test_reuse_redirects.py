"""Reuse when redirects lead to the image: validators are sent only to the URL that they came from."""

from collections.abc import AsyncIterator

import pytest
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Asset
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, assets_of, submit_batch
from support.images import decoded
from support.lanes import work
from support.origin_server import OriginServer, image_bytes
from support.storage import load

TAGGED = {"ETag": '"v1"'}
OLD, NEW = image_bytes(64, 48), image_bytes(160, 120)


@pytest.fixture
async def other_origin() -> AsyncIterator[OriginServer]:
    async with OriginServer() as server:
        yield server


def redirect(origin: OriginServer, path: str, to: str, *, status: int = 302) -> str:
    return origin.serve(path, b"", status=status, headers={"Location": to})


async def processed(resources: Resources, processor: AssetProcessor, url: str) -> Asset:
    """Process a batch of this URL and return its only asset."""
    assert isinstance(resources.clock, ManualClock)
    resources.clock.forward(1)
    batch = await submit_batch(resources, [url])
    await work(batch.id, resources, processor)
    [asset] = await assets_of(resources.sessions, batch.id)
    return asset


async def result(resources: Resources, asset: Asset) -> tuple[str, tuple[int, int]]:
    """Return the action, and the size of the stored image."""
    [rendition] = asset.renditions or []
    return rendition["action"], decoded(await load(resources.storage, rendition["key"])).size


def requests(origin: OriginServer) -> list[tuple[str, str | None]]:
    """Return the path and the entity tag of each request."""
    return [(request.path, request.headers.get("If-None-Match")) for request in origin.requests]


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        (301, "/a.jpg", "/b.jpg"),
        (302, "/a.jpg?v=1", "/a.jpg?v=2"),
        (303, "/a.jpg", "/A.jpg"),
        (307, "/a%2Fb.jpg", "/a/b.jpg"),
        (308, "/a.jpg", "/%61.jpg"),
    ],
)
async def test_a_redirect_that_moved_is_fetched_whole(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, status: int, before: str, after: str
) -> None:
    origin.serve(before, OLD, headers=TAGGED)
    origin.serve(after, NEW, headers=TAGGED)  # another image with the same tag: tags belong to their URL
    url = redirect(origin, "/r", before, status=status)
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (64, 48))
    redirect(origin, "/r", after, status=status)
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (160, 120))
    assert requests(origin)[2:] == [("/r", None), (after, None)]


async def test_a_redirect_that_moved_to_another_server_is_fetched_whole(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, other_origin: OriginServer
) -> None:
    url = redirect(origin, "/r", origin.serve("/a.jpg", OLD, headers=TAGGED))
    await processed(resources, processor, url)
    redirect(origin, "/r", other_origin.serve("/a.jpg", NEW, headers=TAGGED))
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (160, 120))
    assert requests(other_origin) == [("/a.jpg", None)]


async def test_validators_are_sent_only_to_the_end_of_a_redirect(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    origin.serve("/a.jpg", OLD, headers=TAGGED)
    redirect(origin, "/hop", "/a.jpg")
    url = redirect(origin, "/r", "/hop")
    for action in ("compressed", "reused", "reused"):
        assert await result(resources, await processed(resources, processor, url)) == (action, (64, 48))
    assert requests(origin)[3:] == [("/r", None), ("/hop", None), ("/a.jpg", '"v1"')] * 2


async def test_another_chain_of_redirects_to_the_same_url_is_a_conditional_fetch(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    origin.serve("/a.jpg", OLD, headers=TAGGED)
    url = redirect(origin, "/r", "/a.jpg")
    await processed(resources, processor, url)
    redirect(origin, "/r", "/hop")
    redirect(origin, "/hop", "/a.jpg")
    assert await result(resources, await processed(resources, processor, url)) == ("reused", (64, 48))
    assert requests(origin)[2:] == [("/r", None), ("/hop", None), ("/a.jpg", '"v1"')]


async def test_an_image_that_became_a_redirect_is_fetched_whole(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", OLD, headers=TAGGED)
    await processed(resources, processor, url)
    origin.serve("/b.jpg", NEW, headers=TAGGED)
    redirect(origin, "/a.jpg", "/b.jpg")
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (160, 120))
    assert requests(origin)[1:] == [("/a.jpg", '"v1"'), ("/b.jpg", None)]


@pytest.mark.parametrize("at", ["/r", "/b.jpg"])
async def test_a_304_from_another_url_is_a_failure(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, at: str
) -> None:
    origin.serve("/a.jpg", OLD, headers=TAGGED)
    url = redirect(origin, "/r", "/a.jpg")
    await processed(resources, processor, url)
    redirect(origin, "/r", "/b.jpg")
    origin.serve(at, b"", status=304)
    asset = await processed(resources, processor, url)
    assert (asset.status, asset.error_code, asset.renditions) == ("failed", "http_304", None)


async def test_a_signed_url_that_changes_is_fetched_whole_each_time(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    for number in range(3):
        origin.serve(f"/a.jpg?signature={number}", OLD, headers=TAGGED)
        url = redirect(origin, "/r", f"/a.jpg?signature={number}")
        asset = await processed(resources, processor, url)
        assert await result(resources, asset) == ("compressed", (64, 48))
    assert {tag for _, tag in requests(origin)} == {None}
    assert "signature" not in repr(asset.model_dump())  # anyone who reads the database could fetch the image with it


async def test_a_long_url_at_the_end_of_a_redirect_gets_its_validators(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    long = f"/a.jpg?{'x' * 5_000}"
    origin.serve(long, OLD, headers=TAGGED)
    url = redirect(origin, "/r", long)
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (64, 48))
    assert await result(resources, await processed(resources, processor, url)) == ("reused", (64, 48))


@pytest.mark.parametrize("fragment", ["#x", "#y", ""])
async def test_a_fragment_is_not_part_of_the_url(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, fragment: str
) -> None:
    origin.serve("/a.jpg", OLD, headers=TAGGED)
    url = redirect(origin, "/r", "/a.jpg#x")
    await processed(resources, processor, url)
    redirect(origin, "/r", f"/a.jpg{fragment}")
    assert await result(resources, await processed(resources, processor, url)) == ("reused", (64, 48))


@pytest.mark.parametrize("path", ["/a.jpg", "/r"])
async def test_validators_of_an_unknown_url_are_not_sent(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, path: str
) -> None:
    """Rows from before migration 0005 do not record redirects, so their images are fetched whole once."""
    origin.serve("/a.jpg", OLD, headers=TAGGED)
    redirect(origin, "/r", "/a.jpg")
    url = origin.url(path)
    await processed(resources, processor, url)
    async with resources.sessions.write() as session:
        await session.exec(update(Asset).values(final_url_hash=None).where(col(Asset.position) >= 0))
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (64, 48))
    assert {tag for _, tag in requests(origin)} == {None}
    assert await result(resources, await processed(resources, processor, url)) == ("reused", (64, 48))


async def test_a_304_with_another_tag_is_fetched_whole(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """The server compares dates alone, and the file was replaced within the same second (RFC 9111 §4.3.4)."""
    url = origin.serve("/a.jpg", OLD, headers=TAGGED)
    await processed(resources, processor, url)
    origin.serve("/a.jpg", NEW, headers={"ETag": '"v2"'}, not_modified_for='"v1"')
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (160, 120))
    assert requests(origin)[1:] == [("/a.jpg", '"v1"'), ("/a.jpg", None)]


async def test_a_304_with_another_date_is_fetched_whole(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """An older file replaced the image, so it was not modified since (RFC 9111 §4.3.4)."""
    tuesday, monday = "Tue, 03 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2026 10:00:00 GMT"
    url = origin.serve("/a.jpg", OLD, headers={"Last-Modified": tuesday}, not_modified_for=tuesday)
    await processed(resources, processor, url)
    assert await result(resources, await processed(resources, processor, url)) == ("reused", (64, 48))
    origin.serve("/a.jpg", NEW, headers={"Last-Modified": monday}, not_modified_for=tuesday)
    assert await result(resources, await processed(resources, processor, url)) == ("compressed", (160, 120))
    assert [request.headers.get("If-Modified-Since") for request in origin.requests] == [None, tuesday, tuesday, None]

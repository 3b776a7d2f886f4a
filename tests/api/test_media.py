"""GET /media/{key}: the renditions, and no other file of the storage."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, problem, upload, write
from support.images import decoded
from support.origin_server import OriginServer, image_bytes
from support.served import served


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.fixture
async def image(client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer) -> str:
    """The path of the rendition of a batch with one image."""
    batch = await upload(client, catalogue(("1", "Red Shoe", origin.serve("/a.jpg", image_bytes(640, 480)))))
    await drain_queues()
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()
    url: str = page["data"][0]["output_urls"][0]
    return urlsplit(url).path


def stored(settings: Settings, image: str) -> Path:
    return settings.data_dir / "media" / image.removeprefix("/media/")


async def test_an_image_can_be_cached_forever(client: httpx.AsyncClient, image: str) -> None:
    answer = await client.get(image)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert decoded(answer.content).size == (640, 480)


async def test_the_url_contains_the_product_name(image: str) -> None:
    assert re.fullmatch(r"/media/[0-9a-f]{24}/red-shoe-1-[a-z2-7]{16}\.jpg", image)


async def test_head_has_the_same_headers_without_a_body(client: httpx.AsyncClient, image: str) -> None:
    full, head = await client.get(image), await client.head(image)
    assert (head.status_code, head.content) == (200, b"")
    names = ("content-type", "content-length", "etag", "cache-control", "x-content-type-options")
    assert [head.headers[name] for name in names] == [full.headers[name] for name in names]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"other", {}'])
async def test_an_image_that_the_client_already_has_is_304(
    client: httpx.AsyncClient, image: str, method: str, spelling: str
) -> None:
    etag = (await client.get(image)).headers["etag"]
    answer = await client.request(method, image, headers={"If-None-Match": spelling.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "immutable" in answer.headers["cache-control"]


async def test_the_etag_follows_the_bytes_not_the_file(
    client: httpx.AsyncClient, settings: Settings, image: str
) -> None:
    etag = (await client.get(image)).headers["etag"]
    stored(settings, image).touch()
    assert (await client.get(image)).headers["etag"] == etag


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("bytes=10-19", 10, 20), ("bytes=100-", 100, None), ("bytes=-7", -7, None)]
)
async def test_a_range_of_an_image_can_be_requested(
    client: httpx.AsyncClient, image: str, asked: str, start: int, end: int | None
) -> None:
    full = (await client.get(image)).content
    part = await client.get(image, headers={"Range": asked})
    assert part.status_code == 206
    assert part.content == full[start:end]
    first, last = range(len(full))[start:end][0], range(len(full))[start:end][-1]
    assert part.headers["content-range"] == f"bytes {first}-{last}/{len(full)}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=99999999-"},
        {"Range": "bytes=7-3"},
        {"Range": "bytes=-"},
        {"Range": "pages=1-2"},
        {"Range": "bytes=0-9", "If-Range": '"of-other-bytes"'},
    ],
)
async def test_a_range_that_cannot_be_sent_gets_the_whole_image(
    client: httpx.AsyncClient, image: str, headers: dict[str, str]
) -> None:
    answer = await client.get(image, headers=headers)
    assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))
    assert decoded(answer.content).size == (640, 480)


@pytest.mark.parametrize(
    "key",
    [
        "../imgsvc.db",
        "..%2fimgsvc.db",
        "%2e%2e/imgsvc.db",
        "/etc/passwd",
        "%2fetc/passwd",
        "{folder}/../../imgsvc.db",
        "{folder}/red-shoe-1-aaaaaaaaaaaaaaaa.jpg",
        "000000000000000000000000/red-shoe-1-aaaaaaaaaaaaaaaa.jpg",
        "bat_00000000000000000000000000/0-red-shoe-00000000.jpg",
        "bat_00000000000000000000000000/99999999999999999999-a-00000000.jpg",
        "{folder}/",
        "",
        "%00",
        "{folder}/red-shoe-1-%00aaaaaaaaaaaaaaa.jpg",
    ],
)
async def test_an_invalid_media_key_is_404(client: httpx.AsyncClient, image: str, key: str) -> None:
    folder = image.split("/")[2]
    problem(await client.get("/media/" + key.format(folder=folder)), 404, "not-found")


async def test_a_file_without_an_asset_is_404(client: httpx.AsyncClient, settings: Settings, image: str) -> None:
    foreign = image.replace("red-shoe", "other")
    stored(settings, foreign).write_bytes(image_bytes())
    problem(await client.get(foreign), 404, "not-found")


@pytest.mark.parametrize("status", ["processing", "failed", "cancelled"])
async def test_a_rendition_of_an_asset_that_did_not_succeed_is_404(
    client: httpx.AsyncClient, settings: Settings, image: str, status: str
) -> None:
    await write(settings, "UPDATE asset SET status = :status", status=status)
    assert stored(settings, image).exists()
    problem(await client.get(image), 404, "not-found")


async def test_the_images_of_a_deleted_batch_are_gone_at_once(
    client: httpx.AsyncClient, settings: Settings, image: str
) -> None:
    await write(settings, "UPDATE batch SET deleted_at = created_at")
    assert stored(settings, image).exists()
    problem(await client.get(image), 404, "not-found")


async def test_a_deleted_batch_is_404_even_for_a_client_that_has_the_image(
    client: httpx.AsyncClient, settings: Settings, image: str
) -> None:
    etag = (await client.get(image)).headers["etag"]
    await write(settings, "UPDATE batch SET deleted_at = created_at")
    problem(await client.get(image, headers={"If-None-Match": etag}), 404)


async def test_an_image_whose_file_is_missing_is_404(client: httpx.AsyncClient, settings: Settings, image: str) -> None:
    stored(settings, image).unlink()
    problem(await client.get(image), 404, "not-found")


async def test_an_image_is_503_while_the_storage_is_unavailable(
    client: httpx.AsyncClient, settings: Settings, image: str
) -> None:
    """A 404 would make caches believe that the image has been removed."""
    (settings.data_dir / "media").rename(settings.data_dir / "away")
    (settings.data_dir / "media").touch()
    refused = await client.get(image)
    problem(refused, 503, "storage-error")
    assert int(refused.headers["retry-after"]) > 0
    assert (await client.get("/readyz")).status_code == 503
    (settings.data_dir / "media").unlink()
    (settings.data_dir / "away").rename(settings.data_dir / "media")
    assert (await client.get(image)).status_code == 200


async def test_an_image_removed_while_it_is_sent_arrives_completely(settings: Settings, image: str) -> None:
    large = stored(settings, image)
    large.write_bytes(bytes(4 * 2**20))  # more than the socket buffers of both sides
    async with served(settings) as client, client.stream("GET", image) as answer:
        assert answer.status_code == 200
        large.unlink()
        assert len(await answer.aread()) == 4 * 2**20

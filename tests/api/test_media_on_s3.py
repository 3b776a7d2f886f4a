"""GET and HEAD of /media/{key} with renditions on S3."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, upload
from support.images import decoded
from support.origin_server import OriginServer, image_bytes
from support.polling import LONG_TIMEOUT_SETTINGS
from support.s3 import new_bucket, s3_server, stored_headers


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def settings(settings: Settings, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings.model_copy(update={**LONG_TIMEOUT_SETTINGS, "storage_url": new_bucket(s3_endpoint, monkeypatch)})


@pytest.fixture
async def image(client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer) -> str:
    """The path of the rendition of a batch with one image."""
    batch = await upload(client, catalogue(("1", "Red Shoe", origin.serve("/a.jpg", image_bytes(640, 480)))))
    await drain_queues()
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()
    url: str = page["data"][0]["output_urls"][0]
    return urlsplit(url).path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_image_in_a_bucket_can_be_cached_for_ever(client: httpx.AsyncClient, image: str, method: str) -> None:
    answer = await client.request(method, image)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert int(answer.headers["content-length"]) > 0
    if method == "GET":
        assert decoded(answer.content).size == (640, 480)


async def test_a_range_of_an_image_in_a_bucket_can_be_requested(client: httpx.AsyncClient, image: str) -> None:
    whole, part = await client.get(image), await client.get(image, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"


async def test_a_cdn_can_take_images_from_the_bucket(
    client: httpx.AsyncClient, settings: Settings, s3_endpoint: str, image: str
) -> None:
    served = await client.get(image)
    stored = stored_headers(s3_endpoint, settings.storage_url, image.removeprefix("/media/"))
    for name in ("content-type", "cache-control", "content-length"):
        assert stored[name] == served.headers[name]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_removed_object_is_404(
    client: httpx.AsyncClient, resources: Resources, image: str, method: str
) -> None:
    await resources.storage.remove([image.removeprefix("/media/")])
    assert (await client.request(method, image)).status_code == 404

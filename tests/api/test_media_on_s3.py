"""GET and HEAD of /media/{key} with renditions on S3, following the redirect as a browser does."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, upload
from support.images import decoded
from support.origin_server import OriginServer, image_bytes
from support.polling import LONG_TIMEOUT_SETTINGS
from support.s3 import is_signed_for, new_bucket, s3_server


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


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_redirect_leads_to_a_link_that_is_signed_for_the_method(
    client: httpx.AsyncClient, browser: httpx.AsyncClient, image: str, method: str
) -> None:
    redirect = await client.request(method, image)
    assert redirect.status_code == 307
    link = redirect.headers["location"]
    assert is_signed_for(link, method)
    assert not is_signed_for(link, "PUT")
    answer = await browser.request(method, link)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert int(answer.headers["content-length"]) > 0
    if method == "GET":
        assert decoded(answer.content).size == (640, 480)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_removed_object_is_404_after_the_redirect(
    client: httpx.AsyncClient, browser: httpx.AsyncClient, resources: Resources, image: str, method: str
) -> None:
    await resources.storage.remove([image.removeprefix("/media/")])
    redirect = await client.request(method, image)
    assert (await browser.request(method, redirect.headers["location"])).status_code == 404

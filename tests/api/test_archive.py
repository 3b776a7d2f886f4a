"""GET …/archive.zip: every rendition once, with the name in its URL; complete, or visibly incomplete."""

import io
import socket
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import httpx
import pytest

from chaos.servers import S3_LOGIN
from imgsvc.settings.server import Settings
from support.api_calls import ONE_ROW, DrainQueues, catalogue, problem, serving, upload
from support.origin_server import OriginServer, image_bytes


async def archived(client: httpx.AsyncClient, batch: dict[str, Any], **query: str) -> ZipFile:
    answer = await client.get(f"/v1/batches/{batch['id']}/archive.zip", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return ZipFile(io.BytesIO(answer.content))


async def links(client: httpx.AsyncClient, batch: dict[str, Any]) -> list[str]:
    products = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    return [
        rendition["url"] for product in products for asset in product["assets"] for rendition in asset["renditions"]
    ]


@pytest.fixture
async def finished(client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer) -> dict[str, Any]:
    """A batch with two images, one of them in two rows, and one that fails; each in two renditions."""
    first, second = (origin.serve(f"/{width}.jpg", image_bytes(width, 300)) for width in (400, 500))
    rows = [("1", "Café ☕ cup", f"{first}, {origin.url('/none.jpg')}"), ("2", "../Hat", f"{first}, {second}")]
    thumb = '[{"name": "thumb", "max_width": 50}]'
    batch = await upload(client, catalogue(*rows), renditions=thumb)
    await drain_queues()
    return batch


async def test_the_archive_has_every_rendition_once_named_as_in_its_url(
    client: httpx.AsyncClient, finished: dict[str, Any]
) -> None:
    archive = await archived(client, finished)
    assert archive.testzip() is None
    urls = list(dict.fromkeys(await links(client, finished)))
    assert len(urls) == 4
    assert [entry.filename for entry in archive.infolist()] == [url.rpartition("/")[2] for url in urls]
    for url, entry in zip(urls, archive.infolist(), strict=True):
        assert archive.read(entry) == (await client.get(url)).content
        assert entry.compress_type == ZIP_DEFLATED
        assert entry.external_attr >> 16 == 0o100644


async def test_the_archive_is_an_attachment_named_after_the_upload(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    text = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes())))
    batch = (await client.post("/v1/batches", files={"file": ("Schuhe ü.csv", text)})).json()
    await drain_queues()
    answer = await client.get(batch["links"]["archive_zip"])
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''Schuhe%20%C3%BC-images.zip")


async def test_the_archive_of_a_running_batch_is_409_unless_it_is_partial(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    problem(await client.get(f"/v1/batches/{batch['id']}/archive.zip"), 409, "batch-not-finished")
    assert (await archived(client, batch, partial="true")).namelist() == []


async def test_a_missing_image_is_listed_and_the_others_are_sent(
    tmp_path: Path, client: httpx.AsyncClient, finished: dict[str, Any]
) -> None:
    [lost, *_] = sorted((tmp_path / "media").glob("*/hat-*"))
    lost.unlink()
    archive = await archived(client, finished)
    assert archive.testzip() is None
    assert archive.read("MISSING.txt").decode() == f"{lost.name}\r\n"
    assert len(archive.namelist()) == 4
    assert lost.name not in archive.namelist()


async def test_an_unavailable_storage_is_503_before_anything_is_sent(
    settings: Settings, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3 = settings.model_copy(update={"storage_url": "s3://bucket/renditions"})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # no one listens on this port, and it stays reserved
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        unreachable = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", **S3_LOGIN}
        for name, value in unreachable.items():  # including a login, which the client would otherwise request
            monkeypatch.setenv(name, value)
        async with serving(on_s3) as (_, client):
            problem(await client.get(f"/v1/batches/{finished['id']}/archive.zip"), 503, "storage-error")

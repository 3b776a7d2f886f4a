"""GET …/archive.zip: every rendition once, under the name of its link; whole, or seen not to be."""

import io
import socket
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import httpx
import pytest

from chaos.servers import S3_LOGIN
from imgsvc.settings.server import Settings
from support.api_calls import ONE_ROW, WorkOff, catalogue, problem, serving, upload
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
async def finished(client: httpx.AsyncClient, work_off: WorkOff, origin: OriginServer) -> dict[str, Any]:
    """Two images, one in two rows, and one that fails; each in two renditions."""
    first, second = (origin.serve(f"/{width}.jpg", image_bytes(width, 300)) for width in (400, 500))
    rows = [("1", "Café ☕ cup", f"{first}, {origin.url('/none.jpg')}"), ("2", "../Hat", f"{first}, {second}")]
    thumb = '[{"name": "thumb", "max_width": 50}]'
    batch = await upload(client, catalogue(*rows), renditions=thumb)
    await work_off()
    return batch


async def test_it_has_every_rendition_once_under_the_name_of_its_link(
    client: httpx.AsyncClient, finished: dict[str, Any]
) -> None:
    bundle = await archived(client, finished)
    assert bundle.testzip() is None
    urls = list(dict.fromkeys(await links(client, finished)))
    assert len(urls) == 4
    assert [entry.filename for entry in bundle.infolist()] == [url.rpartition("/")[2] for url in urls]
    for url, entry in zip(urls, bundle.infolist(), strict=True):
        assert bundle.read(entry) == (await client.get(url)).content
        assert entry.compress_type == ZIP_DEFLATED
        assert entry.external_attr >> 16 == 0o100644


async def test_it_is_an_attachment_named_after_the_upload(
    client: httpx.AsyncClient, work_off: WorkOff, origin: OriginServer
) -> None:
    text = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes())))
    batch = (await client.post("/v1/batches", files={"file": ("Schuhe ü.csv", text)})).json()
    await work_off()
    answer = await client.get(batch["links"]["archive_zip"])
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''Schuhe%20%C3%BC-images.zip")


async def test_while_the_batch_runs_it_is_there_only_in_part(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    problem(await client.get(f"/v1/batches/{batch['id']}/archive.zip"), 409, "batch-not-finished")
    assert (await archived(client, batch, partial="true")).namelist() == []


async def test_an_image_that_is_lost_is_named_and_the_others_come(
    tmp_path: Path, client: httpx.AsyncClient, finished: dict[str, Any]
) -> None:
    [lost, *_] = sorted((tmp_path / "media" / finished["id"]).glob("2-*"))
    lost.unlink()
    bundle = await archived(client, finished)
    assert bundle.testzip() is None
    assert bundle.read("MISSING.txt").decode() == f"{lost.name}\r\n"
    assert len(bundle.namelist()) == 4
    assert lost.name not in bundle.namelist()


async def test_a_storage_that_does_not_answer_is_told_before_anything_is_sent(
    settings: Settings, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings.model_copy(update={"storage_url": "s3://bucket/renditions"})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        nobody = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", **S3_LOGIN}
        for name, value in nobody.items():  # all of it: without a login the client would ask a cloud for one
            monkeypatch.setenv(name, value)
        async with serving(away) as (_, client):
            problem(await client.get(f"/v1/batches/{finished['id']}/archive.zip"), 503, "storage-error")

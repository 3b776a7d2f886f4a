"""Addresses of images: the same for the same bytes in every batch of an API key, and named as the client likes."""

import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, problem, serving, upload
from support.origin_server import OriginServer, image_bytes

TAGGED = {"ETag": '"v1"'}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the statements are tested on both


async def addresses(client: httpx.AsyncClient, batch: dict[str, Any]) -> list[list[str]]:
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()
    return [product["output_urls"] for product in page["data"]]


async def test_the_report_of_an_unchanged_catalogue_is_the_same_byte_by_byte(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, settings: Settings
) -> None:
    urls = [origin.serve(f"/{number}.jpg", image_bytes(64 + number), headers=TAGGED) for number in range(3)]
    text = catalogue(("1", "Shoe", f"{urls[0]},{urls[1]}"), ("2", "Boot", urls[2]))
    reports = []
    for _ in range(2):
        batch = await upload(client, text)
        await drain_queues()
        reports.append((await client.get(f"/v1/batches/{batch['id']}/output.csv")).content)
    assert reports[0] == reports[1]
    assert len([path for path in (settings.data_dir / "media").rglob("*") if path.is_file()]) == 3


@pytest.mark.parametrize("headers", [TAGGED, {}], ids=["with a validator", "without"])
async def test_an_address_stays_when_the_product_is_renamed_or_gets_an_image_in_front(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, headers: dict[str, str]
) -> None:
    old = origin.serve("/old.jpg", image_bytes(), headers=headers)
    new = origin.serve("/new.jpg", image_bytes(32, 32), headers=headers)
    first = await upload(client, catalogue(("1", "Shoe", old)))
    await drain_queues()
    second = await upload(client, catalogue(("1", "Better shoe", f"{new},{old}")))
    await drain_queues()
    [[before]], [[front, after]] = await addresses(client, first), await addresses(client, second)
    assert after == before
    assert "/better-shoe-1-" in front
    assert (await client.get(after)).status_code == 200


async def test_an_image_that_changed_has_another_address(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    text, found = catalogue(("1", "Shoe", origin.url("/a.jpg"))), []
    for width in (64, 65):
        origin.serve("/a.jpg", image_bytes(width))
        batch = await upload(client, text)
        await drain_queues()
        found += (await addresses(client, batch))[0]
    assert found[0] != found[1]
    assert [(await client.get(url)).status_code for url in found] == [200, 200]


async def test_deleting_the_first_batch_breaks_no_link_of_the_second(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, settings: Settings
) -> None:
    text, batches = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes(), headers=TAGGED))), []
    for _ in range(2):
        batches.append(await upload(client, text))
        await drain_queues()
    [[url]] = await addresses(client, batches[1])
    assert (await client.delete(f"/v1/batches/{batches[0]['id']}")).status_code == 204
    assert (await client.get(url)).status_code == 200
    assert (await client.delete(f"/v1/batches/{batches[1]['id']}")).status_code == 204
    assert (await client.get(url)).status_code == 404
    assert [path for path in (settings.data_dir / "media").rglob("*") if path.is_file()] == []


async def test_names_follow_the_template_of_the_upload(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    urls = [origin.serve(f"/IMG_{number}.jpg", image_bytes(64 + number), headers=TAGGED) for number in range(2)]
    text = catalogue(("A-7", "Чашка", ",".join(urls)))
    found = {}
    for template in ("", "{sku}-{n}", "{original}", "{Product Name}"):
        batch = await upload(client, text, names=template)
        await drain_queues()
        [found[template]] = await addresses(client, batch)
    names = {template: [urlsplit(url).path.split("/")[3] for url in each] for template, each in found.items()}
    digest = r"-[a-z2-7]{16}\.jpg"
    for template, expected in {
        "": ["chashka-1", "chashka-2"],
        "{sku}-{n}": ["a-7-1", "a-7-2"],
        "{original}": ["img-0", "img-1"],
        "{Product Name}": ["chashka", "chashka"],
    }.items():
        for name, wanted in zip(names[template], expected, strict=True):
            assert re.fullmatch(re.escape(wanted) + digest, name)


@pytest.mark.parametrize("query", ["", "?validate_only=true"])
async def test_a_template_with_an_unknown_column_is_refused(client: httpx.AsyncClient, query: str) -> None:
    files = {"file": ("a.csv", catalogue(("1", "Shoe", "https://shop.example/a.jpg")))}
    answer = await client.post(f"/v1/batches{query}", files=files, data={"names": "{colour}"})
    refused = problem(answer, 422, "invalid-manifest")
    assert refused["errors"][0]["code"] == "unknown_placeholder"
    assert "`{Product Name}`" in refused["errors"][0]["detail"]


async def test_links_begin_with_the_media_url(
    settings: Settings, client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes()))))
    await drain_queues()
    [[url]] = await addresses(client, batch)
    async with serving(settings.model_copy(update={"media_url": "https://cdn.example/img/"})) as (_, behind_cdn):
        [[there]] = await addresses(behind_cdn, batch)
        report = (await behind_cdn.get(f"/v1/batches/{batch['id']}/output.csv")).text
    key = urlsplit(url).path.removeprefix("/media/")
    assert there == f"https://cdn.example/img/{key}"
    assert there in report

"""Several renditions of every image: requests and results."""

import csv
import io
import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from support.api_calls import CSV, ONE_ROW, DrainQueues, catalogue, problem, upload
from support.origin_server import OriginServer, image_bytes

THUMB = {"name": "thumb", "max_width": 200, "max_height": 200}


def names(batch: dict[str, Any]) -> list[str]:
    return [spec["name"] for spec in batch["specs"]]


async def test_further_renditions_come_after_main_and_inherit_its_settings(client: httpx.AsyncClient) -> None:
    renditions = json.dumps([THUMB, {"name": "print", "quality": 90, "format": "png"}])
    batch = await upload(client, ONE_ROW, quality=40, format="webp", renditions=renditions)
    assert names(batch) == ["main", "thumb", "print"]
    assert [(spec["quality"], spec["format"], spec["max_width"]) for spec in batch["specs"]] == [
        (40, "webp", None),
        (40, "webp", 200),
        (90, "png", None),
    ]


async def test_an_entry_named_main_defines_main_and_main_stays_first(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW, quality=40, renditions=json.dumps([THUMB, {"name": "main", "quality": 70}]))
    assert names(batch) == ["main", "thumb"]
    assert [spec["quality"] for spec in batch["specs"]] == [70, 40]


@pytest.mark.parametrize(
    ("renditions", "code", "column"),
    [
        ("thumb", "json_invalid", "renditions"),
        (json.dumps(THUMB), "list_type", "renditions"),
        (json.dumps([THUMB, THUMB]), "repeated_name", "renditions"),
        (json.dumps([{"quality": 40}, {"quality": 50}]), "repeated_name", "renditions"),
        (json.dumps([THUMB, {"name": "large", "quality": 200}]), "less_than_equal", "renditions.1.quality"),
        (json.dumps([{"name": "../x"}]), "string_pattern_mismatch", "renditions.0.name"),
        (json.dumps([{"name": "thumb", "colour": 5}]), "extra_forbidden", "renditions.0.colour"),
        (json.dumps([{"name": f"r{number}"} for number in range(9)]), "too_long", "renditions"),
    ],
    ids=["no JSON", "no list", "twice", "two without names", "quality", "name", "unknown field", "nine"],
)
async def test_an_invalid_rendition_is_named_by_its_position(
    client: httpx.AsyncClient, renditions: str, code: str, column: str
) -> None:
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params={"renditions": renditions})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["code"], error["column"]) == (code, column)


async def test_each_rendition_has_a_column_a_url_and_its_own_size(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    image_url, missing_url = origin.serve("/a.jpg", image_bytes(800, 600)), origin.url("/status/404")
    rows = catalogue(("1", "Shoe", f"{image_url}, {missing_url}"))
    batch = await upload(client, rows, renditions=json.dumps([THUMB | {"format": "webp"}]))
    await drain_queues()

    report = (await client.get(f"/v1/batches/{batch['id']}/output.csv")).text
    [row] = csv.DictReader(io.StringIO(report, newline=""))
    main, thumb = row["Output Image Urls"], row["Output Image Urls (thumb)"]
    assert [main.split(",")[1:], thumb.split(",")[1:]] == [[""], [""]]
    assert [await format_and_size(client, cell.split(",")[0]) for cell in (main, thumb)] == [
        ("JPEG", (800, 600)),
        ("WEBP", (200, 150)),
    ]

    [product] = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    asset, failed = product["assets"]
    assert [(entry["name"], entry["url"]) for entry in asset["renditions"]] == [
        ("main", main.split(",")[0]),
        ("thumb", thumb.split(",")[0]),
    ]
    assert [(entry["width"], entry["height"], entry["format"]) for entry in asset["renditions"]] == [
        (800, 600, "jpeg"),
        (200, 150, "webp"),
    ]
    assert asset["output_url"] == asset["renditions"][0]["url"]
    assert asset["output_bytes"] == asset["renditions"][0]["bytes"]
    assert failed["renditions"] == []

    status = (await client.get(f"/v1/batches/{batch['id']}")).json()
    assert status["bytes"]["output"] == sum(entry["bytes"] for entry in asset["renditions"])
    assert origin.hits("/a.jpg") == 1


async def test_every_rendition_is_reused_the_second_time(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    rows = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes(800, 600), headers={"ETag": '"1"'})))
    for _ in range(2):
        batch = await upload(client, rows, renditions=json.dumps([THUMB]))
        await drain_queues()
    [product] = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    [asset] = product["assets"]
    assert [(entry["name"], entry["action"]) for entry in asset["renditions"]] == [
        ("main", "reused"),
        ("thumb", "reused"),
    ]
    assert [(await client.get(entry["url"])).status_code for entry in asset["renditions"]] == [200, 200]


async def format_and_size(client: httpx.AsyncClient, url: str) -> tuple[str | None, tuple[int, int]]:
    with Image.open(BytesIO((await client.get(url)).raise_for_status().content)) as image:
        return image.format, image.size

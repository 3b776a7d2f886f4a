"""Shapes in uploads: fields, inheritance by renditions, and contradictions, which are refused in words."""

import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, DrainQueues, catalogue, problem, upload
from support.origin_server import OriginServer, image_bytes

SQUARE = {"fit": "pad", "width": 200, "height": 200}


async def test_a_batch_returns_its_shape_and_renditions_inherit_it(client: httpx.AsyncClient) -> None:
    renditions = json.dumps([{"name": "thumb", "width": 50, "height": 40}, {"name": "list", "fit": None} | NO_BOX])
    batch = await upload(client, ONE_ROW, renditions=renditions, trim="true", margin=7, **SQUARE)
    shapes = [(spec["fit"], spec["width"], spec["height"], spec["trim"], spec["margin"]) for spec in batch["specs"]]
    assert shapes == [("pad", 200, 200, True, 7), ("pad", 50, 40, True, 7), (None, None, None, True, 7)]


NO_BOX = {"width": None, "height": None}


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"width": 5}, "width"),
        ({"fit": "cover", "width": 5}, "fit"),
        ({"margin": 5}, "margin"),
        ({"fit": "pad", "width": 20_000, "height": 20_000}, "width"),
        ({"renditions": '[{"name": "a"}, {"name": "b", "fit": "pad", "width": 9}]'}, "renditions.1.fit"),
        (
            SQUARE | {"trim": "true", "margin": 5, "renditions": '[{"name": "a", "fit": "cover"}]'},
            "renditions.0.margin",
        ),
        (SQUARE | {"renditions": '[{"name": "main", "fit": null}]'}, "renditions.0.width"),
    ],
)
async def test_a_contradiction_is_refused_where_it_is(
    client: httpx.AsyncClient, fields: dict[str, Any], column: str
) -> None:
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params=fields)
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["code"], error["column"]) == ("contradiction", column)
    assert error["detail"].startswith(f"{column}: ")


async def test_all_contradictions_of_a_json_upload_are_listed(client: httpx.AsyncClient) -> None:
    products = [{"serial_number": "1", "product_name": "Shoe", "input_urls": ["https://shop.example/a.jpg"]}]
    body = {"products": products, "margin": 5, "renditions": [{"name": "thumb", "height": 9}]}
    errors = problem(await client.post("/v1/batches", json=body), 422, "invalid-upload")["errors"]
    assert [error["column"] for error in errors] == ["margin", "renditions.0.height", "renditions.0.margin"]


async def test_a_box_may_have_as_many_pixels_as_an_image(client: httpx.AsyncClient, settings: Settings) -> None:
    side = int(settings.max_pixels**0.5)
    await upload(client, ONE_ROW, fit="pad", width=side, height=side)
    params: dict[str, Any] = {"fit": "pad", "width": side + 1, "height": side + 1}
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params=params)
    assert "million" in problem(refused, 422, "invalid-upload")["detail"]


async def test_images_come_back_in_the_shape_that_was_asked_for(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    rows = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes(320, 200))))
    cover = json.dumps([{"name": "wide", "fit": "cover", "width": 300, "height": 100}])
    batch = await upload(client, rows, renditions=cover, background="black", **SQUARE)
    await drain_queues()
    [product] = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    entries = product["assets"][0]["renditions"]
    assert [(entry["width"], entry["height"]) for entry in entries] == [(200, 200), (300, 100)]
    sizes = []
    for entry in entries:
        with Image.open(BytesIO((await client.get(entry["url"])).raise_for_status().content)) as image:
            sizes.append(image.size)
    assert sizes == [(200, 200), (300, 100)]

"""Uploads with several image columns: fetches, reports and the JSON of products."""

import csv
import io
import json
from typing import Any

import httpx

from support.api_calls import DrainQueues, catalogue, upload
from support.origin_server import OriginServer, image_bytes

HEADER = ("sku", "name", "base_image", "additional_images")


async def products(client: httpx.AsyncClient, batch: dict[str, Any]) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    return data


async def test_an_image_of_several_columns_is_fetched_once_and_reported_in_each(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    a, b = origin.serve("/a.jpg", image_bytes(64, 48)), origin.serve("/b.jpg", image_bytes(32, 24))
    gone = origin.url("/status/404")
    rows = [("m1", "Mug", a, f"{gone},{a},{b}"), ("m2", "Cup", "", b)]
    batch = await upload(client, catalogue(*rows, header=HEADER))
    assert (batch["manifest"]["preset"], batch["counts"]["assets"]["total"]) == ("magento", 3)
    assert batch["manifest"]["columns"] == {
        "serial_number": "sku",
        "product_name": "name",
        "image_urls": "base_image",
        "image_columns": ["base_image", "additional_images"],
    }
    await drain_queues()
    assert (origin.hits("/a.jpg"), origin.hits("/b.jpg")) == (1, 1)

    text = (await client.get(f"/v1/batches/{batch['id']}/output.csv")).text
    mug, cup = csv.DictReader(io.StringIO(text, newline=""))
    first = mug["Output Image Urls (base_image)"]
    empty, repeated, second = mug["Output Image Urls (additional_images)"].split(",")
    assert (empty, repeated) == ("", first)
    assert (cup["Output Image Urls (base_image)"], cup["Output Image Urls (additional_images)"]) == ("", second)

    mug, cup = await products(client, batch)
    assert mug["input_urls"] == [a, gone, a, b]
    assert mug["output_urls"] == [first, None, first, second]
    columns = ["base_image", "additional_images", "additional_images", "additional_images"]
    assert [asset["column"] for asset in mug["assets"]] == columns
    assert [(asset["input_url"], asset["column"]) for asset in cup["assets"]] == [(b, "additional_images")]

    failures = (await client.get(f"/v1/batches/{batch['id']}/failures.csv")).text
    [row] = csv.DictReader(io.StringIO(failures, newline=""))
    assert (row["base_image"], row["additional_images"]) == ("", gone)
    assert row["Error"].startswith("http_404")


async def test_validation_names_the_preset_and_all_image_columns(client: httpx.AsyncClient) -> None:
    rows = catalogue(("m1", "Mug", "https://shop.example/a.jpg", "https://shop.example/b.jpg"), header=HEADER)
    summary = (await client.post("/v1/batches", files={"file": rows}, data={"validate_only": "true"})).json()
    assert (summary["preset"], summary["columns"]["image_columns"]) == ("magento", ["base_image", "additional_images"])


async def test_columns_names_a_list_of_image_columns(client: httpx.AsyncClient) -> None:
    columns = {"serial_number": None, "product_name": "name", "image_urls": ["additional_images", "base_image"]}
    rows = catalogue(("m1", "Mug", "https://shop.example/a.jpg", "https://shop.example/b.jpg"), header=HEADER)
    batch = await upload(client, rows, columns=json.dumps(columns))
    assert batch["manifest"]["preset"] is None
    assert batch["manifest"]["columns"]["image_columns"] == ["base_image", "additional_images"]
    assert batch["manifest"]["columns"]["serial_number"] is None


async def test_a_list_without_headers_is_an_invalid_field(client: httpx.AsyncClient) -> None:
    columns = json.dumps({"serial_number": None, "product_name": "name", "image_urls": []})
    refused = await client.post("/v1/batches", files={"file": catalogue()}, data={"columns": columns})
    assert refused.status_code == 422
    assert {error["column"].partition(".image_urls")[0] for error in refused.json()["errors"]} == {"columns"}


async def test_products_of_a_json_upload_name_the_column_of_the_report(client: httpx.AsyncClient) -> None:
    body = {"products": [{"product_name": "Mug", "input_urls": ["https://shop.example/a.jpg"]}]}
    batch = (await client.post("/v1/batches", json=body)).raise_for_status().json()
    assert batch["manifest"]["preset"] is None
    [product] = await products(client, batch)
    assert [asset["column"] for asset in product["assets"]] == ["Input Image Urls"]

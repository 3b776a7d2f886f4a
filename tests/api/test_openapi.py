"""The OpenAPI document is valid, complete, and matches the API."""

import csv
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from imgsvc.api.openapi.examples import (
    ACCEPTED,
    BATCH,
    CANCELLED,
    DELIVERIES,
    DELIVERY,
    PRODUCTS,
    RETRIED,
    TEST_RESULT,
    VALIDATION,
)
from imgsvc.api.openapi.text_examples import OUTPUT_CSV
from imgsvc.api.schemas.batches import BatchOut
from imgsvc.api.schemas.deliveries import DeliveryList, DeliveryOut, WebhookTest
from imgsvc.api.schemas.products import ProductPage
from imgsvc.api.schemas.validation import ValidationOut
from imgsvc.api.uploads.form import EXAMPLE_CSV
from support.api_calls import upload
from support.openapi_document import Document, document_of, nodes, operations
from support.workbooks import workbook


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Document:
    return await document_of(client)


async def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


async def test_every_reference_is_defined(document: Document) -> None:
    references = {node["$ref"] for node in nodes(document) if "$ref" in node}
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references - schemas == set()


async def test_every_schema_is_used(document: Document) -> None:
    references = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} - references == set()


async def test_every_operation_says_what_it_does(document: Document) -> None:
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert operation["tags"], (method, path)
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (method, path, parameter["name"])
        for status, response in operation["responses"].items():
            assert response["description"] not in ("", "Successful Response", "Validation Error"), (path, status)


async def test_operation_ids_are_names_and_unique(document: Document) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)+", each) for each in ids)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        pytest.param(BatchOut, ACCEPTED, id="new"),
        pytest.param(BatchOut, BATCH, id="ended"),
        pytest.param(BatchOut, CANCELLED, id="cancelled"),
        pytest.param(BatchOut, RETRIED, id="retried"),
        pytest.param(ProductPage, PRODUCTS, id="page"),
        pytest.param(DeliveryOut, DELIVERY, id="delivery"),
        pytest.param(DeliveryList, DELIVERIES, id="deliveries"),
        pytest.param(WebhookTest, TEST_RESULT, id="tested"),
        pytest.param(ValidationOut, VALIDATION, id="validation"),
    ],
)
def test_an_example_response_has_exactly_the_fields_of_a_real_one(model: type[BaseModel], body: dict[str, Any]) -> None:
    assert json.loads(model.model_validate(body).model_dump_json()) == body


def test_the_example_report_is_the_example_csv_with_one_more_column() -> None:
    before, after = (list(csv.reader(text.splitlines())) for text in (EXAMPLE_CSV, OUTPUT_CSV))
    assert [row[:3] for row in after] == before
    assert [row[3].count(",") for row in after[1:]] == [row[2].count(",") for row in after[1:]]


async def test_no_parameter_is_nullable(document: Document) -> None:
    for _, path, operation in operations(document):
        assert "null" not in json.dumps([parameter["schema"] for parameter in operation.get("parameters", ())]), path


async def test_the_example_of_the_upload_is_accepted(client: httpx.AsyncClient, document: Document) -> None:
    content = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]
    batch = await upload(client, content["text/csv"]["example"])
    listed = (await client.post("/v1/batches", json=content["application/json"]["example"])).json()
    for counts in (batch["counts"], listed["counts"]):
        assert (counts["products"], counts["urls"]) == (2, 3)


async def test_the_sample_csv_of_the_page_is_the_example(client: httpx.AsyncClient, document: Document) -> None:
    [url] = re.findall(r"\[a sample CSV\]\((.*?)\)", document["info"]["description"])
    sample = await client.get(url)
    assert sample.text == EXAMPLE_CSV
    assert sample.headers["content-disposition"] == 'attachment; filename="catalog.csv"'


async def test_every_status_is_explained(document: Document) -> None:
    for name in ("BatchStatus", "AssetStatus", "DeliveryStatus"):
        schema = document["components"]["schemas"][name]
        assert {f"`{word}`" for word in schema["enum"]} <= set(re.findall("`[a-z_]+`", schema["description"])), name


async def test_form_and_query_have_the_same_fields_and_all_are_accepted(
    client: httpx.AsyncClient, document: Document
) -> None:
    operation = document["paths"]["/v1/batches"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    query = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    assert "required" not in form  # a file or a source_url
    assert query == set(form["properties"]) - {"file"}

    defaults = {name: str(field["default"]) for name, field in form["properties"].items() if "default" in field}
    # The docs page sends the values that it fills in: empty ones, or the defaults.
    assert {name for name, field in form["properties"].items() if field.get("example") == ""} == query - set(defaults)
    columns = {"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}
    more = {"max_width": "800", "max_height": "600", "columns": json.dumps(columns), "metadata": '{"shop": "north"}'}
    more["renditions"] = '[{"name": "thumb", "max_width": 200}]'
    given = {name: value.lower() if value == "False" else value for name, value in (defaults | more).items()}
    given |= {"webhook_url": "https://shop.example/hooks", "names": "{sku}-{n}", "sheet": "Shoes", "catalogue": "shop"}
    given |= {"fit": "pad", "width": "80", "height": "60"}
    assert {*given, "source_url"} == query
    shoes = workbook([list(columns.values()), ["1", "Shoe", "https://shop.example/a.jpg"]], sheet="Shoes")
    file = ("a.xlsx", shoes)
    accepted = await client.post("/v1/batches", files={"file": file}, data=given)
    assert accepted.status_code == 202, accepted.text


async def test_the_document_has_the_webhook_with_its_headers(document: Document) -> None:
    [event] = document["webhooks"].values()
    headers = {parameter["name"] for parameter in event["post"]["parameters"]}
    assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert list(event["post"]["responses"]) == ["2XX"]


class _LinkParser(HTMLParser):
    """Collects the URLs that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]


async def test_the_docs_page_loads_nothing_from_anywhere_else(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    parser = _LinkParser()
    parser.feed(page.text)
    urls = [*parser.urls, *re.findall(r"url: '([^']*)'", page.text)]
    assert len(urls) >= 4
    for url in urls:
        assert not urlsplit(url).netloc, url
        assert (await client.get(url)).status_code == 200, url
    assert "://" not in page.text


async def test_the_stylesheet_of_the_docs_loads_nothing_from_anywhere_else(client: httpx.AsyncClient) -> None:
    page = _LinkParser()
    page.feed((await client.get("/docs")).text)
    [stylesheet] = [url for url in page.urls if url.endswith(".css")]
    text = (await client.get(stylesheet)).text
    assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", text)

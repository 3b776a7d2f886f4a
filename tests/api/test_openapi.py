"""The OpenAPI document: valid, complete, and true to what the API does."""

import csv
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from api_calls import CSV, ONE_ROW, catalogue, problem, upload
from imgsvc.api.examples import ACCEPTED, BATCH, EXAMPLE_CSV, OUTPUT_CSV, PRODUCTS
from imgsvc.api.problems import MEDIA_TYPE
from imgsvc.api.schemas import BatchOut, ProductPage

Document = dict[str, Any]


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Document:
    body: Document = (await client.get("/openapi.json")).json()
    return body


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every object below `part`, itself included."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from nodes(inner)


async def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


async def test_every_reference_leads_somewhere(document: Document) -> None:
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


async def test_every_documented_refusal_is_a_problem_with_an_example_of_its_own(document: Document) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    refusals = [
        (path, status, response["content"])
        for _, path, operation in operations(document)
        for status, response in operation["responses"].items()
        if status >= "4" and (path, status) != ("/readyz", "503")  # the same figures as when it is ready
    ]
    assert len(refusals) > 10
    required = set(document["components"]["schemas"]["ProblemDetails"]["required"])
    for path, status, content in refusals:
        assert list(content) == [MEDIA_TYPE], (path, status)
        assert content[MEDIA_TYPE]["schema"] == schema, (path, status)
        assert content[MEDIA_TYPE]["example"]["status"] == int(status), (path, status)
        assert required <= set(content[MEDIA_TYPE]["example"]), (path, status)


async def test_an_example_refusal_tells_of_its_own_operation(document: Document) -> None:
    for _, path, operation in operations(document):
        names = {parameter["name"] for parameter in operation.get("parameters", ())} | {"Input Image Urls"}
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                example = content.get("example", {})
                if "instance" in example:
                    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), example["instance"]), (path, status)
                    assert {error["column"] for error in example["errors"]} <= names, (path, status)
                    assert len(example["errors"]) == example["errors_total"], (path, status)


@pytest.mark.parametrize(
    ("model", "body"), [(BatchOut, ACCEPTED), (BatchOut, BATCH), (ProductPage, PRODUCTS)], ids=["new", "ended", "page"]
)
def test_an_example_answer_has_just_what_a_real_one_has(model: type[BaseModel], body: dict[str, Any]) -> None:
    assert json.loads(model.model_validate(body).model_dump_json()) == body


def test_the_example_report_is_the_example_csv_with_a_column_more() -> None:
    before, after = (list(csv.reader(text.splitlines())) for text in (EXAMPLE_CSV, OUTPUT_CSV))
    assert [row[:3] for row in after] == before
    assert [row[3].count(",") for row in after[1:]] == [row[2].count(",") for row in after[1:]]


async def test_no_parameter_is_said_to_be_null(document: Document) -> None:
    for _, path, operation in operations(document):
        assert "null" not in json.dumps([parameter["schema"] for parameter in operation.get("parameters", ())]), path


async def test_the_problems_that_come_are_those_that_are_documented(
    client: httpx.AsyncClient, document: Document
) -> None:
    batch = await upload(client, ONE_ROW)
    refusals = {
        ("post", "/v1/batches"): [
            await client.post("/v1/batches", headers={"Content-Type": "multipart/form-data"}),
            await client.post("/v1/batches", headers=CSV, content=bytes(70 * 2**20)),
            await client.post("/v1/batches", json={}),
            await client.post("/v1/batches", headers=CSV, content="htp://nowhere"),
        ],
        ("get", "/v1/batches/{batch_id}"): [
            await client.get("/v1/batches/bat_none"),
            await client.get(f"/v1/batches/{batch['id']}?wait=31"),
        ],
        ("get", "/v1/batches/{batch_id}/products"): [
            await client.get("/v1/batches/bat_none/products"),
            await client.get(f"/v1/batches/{batch['id']}/products?limit=0"),
        ],
        ("get", "/v1/batches/{batch_id}/output.csv"): [
            await client.get("/v1/batches/bat_none/output.csv"),
            await client.get(f"/v1/batches/{batch['id']}/output.csv"),
            await client.get(f"/v1/batches/{batch['id']}/output.csv?partial=perhaps"),
        ],
        ("get", "/media/{key}"): [await client.get("/media/none")],
        ("get", "/readyz"): [await client.get("/readyz?strict=perhaps")],
    }
    for (method, path), answers in refusals.items():
        written = set(document["paths"][path][method]["responses"])
        for answer in answers:
            problem(answer, answer.status_code)
        seen = {str(answer.status_code) for answer in answers}
        assert seen == {status for status in written if "400" <= status < "500"}, path


async def test_the_example_of_the_upload_is_accepted(client: httpx.AsyncClient, document: Document) -> None:
    content = document["paths"]["/v1/batches"]["post"]["requestBody"]["content"]
    batch = await upload(client, content["text/csv"]["example"])
    assert (batch["counts"]["products"], batch["counts"]["urls"]) == (2, 3)


async def test_form_and_query_offer_the_same_fields_and_all_are_taken(
    client: httpx.AsyncClient, document: Document
) -> None:
    operation = document["paths"]["/v1/batches"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    query = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    assert form["required"] == ["file"]
    assert query == set(form["properties"]) - {"file"}

    defaults = {name: str(field["default"]) for name, field in form["properties"].items() if "default" in field}
    # The docs page sends what it fills in: empty, or what the service would do anyway.
    assert {name for name, field in form["properties"].items() if field.get("example") == ""} == query - set(defaults)
    columns = {"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}
    more = {"max_width": "800", "max_height": "600", "columns": json.dumps(columns), "metadata": '{"shop": "north"}'}
    given = defaults | more | {"webhook_url": "https://shop.example/hooks"}
    assert set(given) == query
    header = list(columns.values())
    file = ("a.csv", catalogue(("1", "Shoe", "https://shop.example/a.jpg"), header=header))
    accepted = await client.post("/v1/batches", files={"file": file}, data=given)
    assert accepted.status_code == 202, accepted.text


async def test_the_webhook_stands_in_the_document_with_its_headers(document: Document) -> None:
    [event] = document["webhooks"].values()
    headers = {parameter["name"] for parameter in event["post"]["parameters"]}
    assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert list(event["post"]["responses"]) == ["2XX"]


class _Addresses(HTMLParser):
    """The addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


async def test_the_docs_page_loads_nothing_from_anywhere_else(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    parser = _Addresses()
    parser.feed(page.text)
    own = [*parser.found, *re.findall(r"url: '([^']*)'", page.text)]
    assert len(own) >= 4
    for address in own:
        assert not urlsplit(address).netloc, address
        assert (await client.get(address)).status_code == 200, address
    assert "://" not in page.text


async def test_the_stylesheet_of_the_docs_loads_nothing_from_anywhere_else(client: httpx.AsyncClient) -> None:
    page = _Addresses()
    page.feed((await client.get("/docs")).text)
    [stylesheet] = [address for address in page.found if address.endswith(".css")]
    text = (await client.get(stylesheet)).text
    assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", text)

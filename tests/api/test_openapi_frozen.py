"""docs/openapi.json matches the API, and changes that break clients are detected."""

import copy
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from support.openapi_compat import breaking_changes
from support.openapi_document import Document, document_of
from support.openapi_files import FILE, difference, text_of

Change = Callable[[Document], Any]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture(scope="module")
def frozen() -> Document:
    document: Document = json.loads(FILE.read_text(encoding="utf-8"))
    return document


async def test_the_file_is_the_document_that_is_served(client: httpx.AsyncClient, frozen: Document) -> None:
    served = await document_of(client)
    changes = f"{difference(FILE.read_text(encoding='utf-8'), text_of(served))}\n{breaking_changes(frozen, served)}"
    assert served == frozen, f"The API has changed. If that is intended, run: make openapi\n{changes}"


def operation(document: Document, path: str = "/v1/batches/{batch_id}", method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def schema(document: Document, name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def upload(document: Document, media_type: str = "application/json") -> dict[str, Any]:
    body = operation(document, "/v1/batches", "post")["requestBody"]["content"]
    found: dict[str, Any] = body[media_type]["schema"]["properties"]
    return found


BREAKING: dict[str, tuple[Change, str]] = {
    "an operation is removed": (lambda it: it["paths"].pop("/v1/batches/{batch_id}/cancel"), "cancel: removed"),
    "an operation is renamed": (
        lambda it: operation(it).update(operationId="read_batch"),
        "the operationId has changed",
    ),
    "a parameter is removed": (lambda it: operation(it)["parameters"].pop(), "the parameter if-none-match was removed"),
    "a parameter is required": (
        lambda it: operation(it)["parameters"][1].update(required=True), "wait is now required",
    ),
    "a parameter is narrower": (
        lambda it: operation(it)["parameters"][1]["schema"].update(maximum=20), "wait is narrower: maximum 30",
    ),
    "a status is removed": (lambda it: operation(it)["responses"].pop("200"), "the response 200 was removed"),
    "a header is removed": (
        lambda it: operation(it)["responses"]["200"]["headers"].pop("ETag"), "the header ETag of 200 was removed",
    ),
    "a field of a response is removed": (
        lambda it: schema(it, "BatchOut")["properties"].pop("counts"),
        "body.counts was removed",
    ),
    "a field of a response may be absent": (
        lambda it: schema(it, "BatchOut")["required"].remove("counts"), "body.counts may now be absent",
    ),
    "a field of a response has another type": (
        lambda it: schema(it, "Bytes")["properties"]["input"].update(type="string"),
        "body.bytes.input has another type",
    ),
    "a field of a response may be null": (
        lambda it: schema(it, "Counts")["properties"].update(urls={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "body.counts.urls has another type",
    ),
    "a field of an upload is removed": (lambda it: upload(it).pop("quality"), "body.quality was removed"),
    "a field of an upload is required": (
        lambda it: operation(it, "/v1/batches", "post")["requestBody"]["content"]["application/json"]["schema"].update(
            required=["quality"]
        ),
        "body.quality is now required",
    ),
    "a field of an upload is narrower": (lambda it: upload(it)["quality"].update(minimum=10), "is narrower: minimum 1"),
    "a value of an upload is removed": (
        lambda it: schema(it, "Format")["enum"].remove("avif"),
        "format no longer allows avif",
    ),
    "a field of a webhook is removed": (
        lambda it: schema(it, "EventData")["properties"].pop("id"),
        "body.data.id was removed",
    ),
    "a webhook is removed": (lambda it: it["webhooks"].clear(), "webhook batch.ended: removed"),
    "an API key is required": (
        lambda it: operation(it, "/media/{key}").update(security=[{"api_key": []}]),
        "the required key has changed",
    ),
    "a default has changed": (lambda it: upload(it)["quality"].update(default=80), "body.quality has the default 80"),
    "a field of a problem is removed": (
        lambda it: schema(it, "ProblemDetails")["properties"].pop("errors"), "body.errors was removed",
    ),
    "a time is any string": (
        lambda it: schema(it, "BatchOut")["properties"]["created_at"].pop("format"),
        "body.created_at has the format None",
    ),
    "a count is a string": (
        lambda it: schema(it, "BatchOut")["properties"]["errors_by_code"].update(
            additionalProperties={"type": "string"}
        ),
        "body.errors_by_code.* has another type",
    ),
    "a list has items of any type": (
        lambda it: schema(it, "BatchOut")["properties"]["specs"].pop("items"),
        "body.specs[] no longer has a schema",
    ),
    "a value must be shorter": (
        lambda it: upload(it)["metadata"]["anyOf"][0]["additionalProperties"].update(maxLength=10),
        "body.metadata.* is narrower",
    ),
    "a media type is removed": (
        lambda it: operation(it, "/v1/batches", "post")["requestBody"]["content"].pop("text/csv"),
        "text/csv was removed",
    ),
}  # fmt: skip
HARMLESS: dict[str, Change] = {
    "another operation": lambda it: it["paths"].update({"/v2": {"get": operation(it) | {"operationId": "new"}}}),
    "another field in a response": lambda it: schema(it, "BatchOut")["properties"].update(new={"type": "string"}),
    "another field in an upload": lambda it: upload(it).update(new={"type": "string"}),
    "another parameter": lambda it: operation(it)["parameters"].append(
        {"name": "new", "in": "query", "schema": {"type": "string"}}
    ),
    "another value in a response": lambda it: schema(it, "BatchStatus")["enum"].append("waiting"),
    "another summary": lambda it: operation(it).update(summary="Read a batch"),
    "a wider limit": lambda it: operation(it)["parameters"][1]["schema"].update(maximum=60),
    "an error response is removed": lambda it: operation(it)["responses"].pop("503"),
    "another error response": lambda it: operation(it)["responses"].update({"418": {"description": "a teapot"}}),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_reported(frozen: Document, name: str) -> None:
    changed = copy.deepcopy(frozen)
    change, sentence = BREAKING[name]
    change(changed)
    reported = breaking_changes(frozen, changed)
    assert any(sentence in each for each in reported), reported


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_not_reported(frozen: Document, name: str) -> None:
    changed = copy.deepcopy(frozen)
    HARMLESS[name](changed)
    assert changed != frozen
    assert breaking_changes(frozen, changed) == []

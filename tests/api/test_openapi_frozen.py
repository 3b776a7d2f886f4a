"""docs/openapi.json is the API as it is now, and no change of it takes away what programs rely on unnoticed."""

import copy
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from support.openapi_compat import breaks
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
    told = difference(FILE.read_text(encoding="utf-8"), text_of(served))
    assert served == frozen, f"The API has changed. If that is meant: make openapi\n{told}\n{breaks(frozen, served)}"


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


BREAKS: dict[str, tuple[Change, str]] = {
    "a call is gone": (lambda it: it["paths"].pop("/v1/batches/{batch_id}/cancel"), "cancel: gone"),
    "a call has another name": (
        lambda it: operation(it).update(operationId="read_batch"),
        "its operationId has changed",
    ),
    "a parameter is gone": (lambda it: operation(it)["parameters"].pop(), "the parameter if-none-match is gone"),
    "a parameter is needed": (lambda it: operation(it)["parameters"][1].update(required=True), "wait is needed now"),
    "a parameter is narrower": (
        lambda it: operation(it)["parameters"][1]["schema"].update(maximum=20), "wait is narrower: maximum 30",
    ),
    "a status is gone": (lambda it: operation(it)["responses"].pop("200"), "it no longer answers 200"),
    "a header is gone": (lambda it: operation(it)["responses"]["200"]["headers"].pop("ETag"), "200 has no ETag"),
    "a field of an answer is gone": (
        lambda it: schema(it, "BatchOut")["properties"].pop("counts"),
        "body.counts is gone",
    ),
    "a field of an answer may be absent": (
        lambda it: schema(it, "BatchOut")["required"].remove("counts"), "body.counts may be absent now",
    ),
    "a field of an answer has another type": (
        lambda it: schema(it, "Bytes")["properties"]["input"].update(type="string"),
        "body.bytes.input has another type",
    ),
    "a field of an answer may be null": (
        lambda it: schema(it, "Counts")["properties"].update(urls={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "body.counts.urls has another type",
    ),
    "a field of an upload is gone": (lambda it: upload(it).pop("quality"), "body.quality is gone"),
    "a field of an upload is needed": (
        lambda it: operation(it, "/v1/batches", "post")["requestBody"]["content"]["application/json"]["schema"][
            "required"
        ].append("quality"),
        "body.quality is needed now",
    ),
    "a field of an upload is narrower": (lambda it: upload(it)["quality"].update(minimum=10), "is narrower: minimum 1"),
    "a word of an upload is gone": (
        lambda it: schema(it, "Format")["enum"].remove("avif"),
        "format no longer has avif",
    ),
    "a field of a webhook is gone": (
        lambda it: schema(it, "EventData")["properties"].pop("id"),
        "body.data.id is gone",
    ),
    "a webhook is gone": (lambda it: it["webhooks"].clear(), "webhook batch.ended: gone"),
    "a key is asked for": (
        lambda it: operation(it, "/media/{key}").update(security=[{"api_key": []}]),
        "it asks for another key",
    ),
    "a default has changed": (lambda it: upload(it)["quality"].update(default=80), "body.quality is 80 where nothing"),
    "a refusal says less": (lambda it: schema(it, "ProblemDetails")["properties"].pop("errors"), "body.errors is gone"),
    "a time is any text": (
        lambda it: schema(it, "BatchOut")["properties"]["created_at"].pop("format"),
        "body.created_at has format None",
    ),
    "a count is a text": (
        lambda it: schema(it, "BatchOut")["properties"]["errors_by_code"].update(
            additionalProperties={"type": "string"}
        ),
        "body.errors_by_code.* has another type",
    ),
    "a list is of anything": (
        lambda it: schema(it, "BatchOut")["properties"]["specs"].pop("items"),
        "body.specs[] may be anything now",
    ),
    "a value may be less long": (
        lambda it: upload(it)["metadata"]["anyOf"][0]["additionalProperties"].update(maxLength=10),
        "body.metadata.* is narrower",
    ),
    "a media type is gone": (
        lambda it: operation(it, "/v1/batches", "post")["requestBody"]["content"].pop("text/csv"), "text/csv is gone",
    ),
}  # fmt: skip
HARMLESS: dict[str, Change] = {
    "another call": lambda it: it["paths"].update({"/v2": {"get": operation(it) | {"operationId": "new"}}}),
    "a field more in an answer": lambda it: schema(it, "BatchOut")["properties"].update(new={"type": "string"}),
    "a field more in an upload": lambda it: upload(it).update(new={"type": "string"}),
    "another parameter": lambda it: operation(it)["parameters"].append(
        {"name": "new", "in": "query", "schema": {"type": "string"}}
    ),
    "another word in an answer": lambda it: schema(it, "BatchStatus")["enum"].append("waiting"),
    "another sentence": lambda it: operation(it).update(summary="Look at a batch"),
    "a wider limit": lambda it: operation(it)["parameters"][1]["schema"].update(maximum=60),
    "a refusal less": lambda it: operation(it)["responses"].pop("503"),
    "another refusal": lambda it: operation(it)["responses"].update({"418": {"description": "a teapot"}}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_programs_is_told(frozen: Document, name: str) -> None:
    changed = copy.deepcopy(frozen)
    change, sentence = BREAKS[name]
    change(changed)
    told = breaks(frozen, changed)
    assert any(sentence in each for each in told), told


@pytest.mark.parametrize("name", HARMLESS)
def test_what_breaks_none_is_not(frozen: Document, name: str) -> None:
    changed = copy.deepcopy(frozen)
    HARMLESS[name](changed)
    assert changed != frozen
    assert breaks(frozen, changed) == []

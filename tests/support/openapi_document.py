"""Iterates over the parts of an OpenAPI document."""

from collections.abc import Iterator
from typing import Any

import httpx

Document = dict[str, Any]


async def document_of(client: httpx.AsyncClient) -> Document:
    """Return the document that the API serves."""
    body: Document = (await client.get("/openapi.json")).json()
    return body


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each operation with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in `part`, including itself."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from nodes(inner)


def names_in(document: Document, operation: dict[str, Any]) -> set[str]:
    """Return the names of an operation's parameters and of the fields of its JSON body."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    models = {node["$ref"].rpartition("/")[2] for node in nodes(body) if "$ref" in node}
    schemas = [body.get("schema", {}), *(document["components"]["schemas"][model] for model in models)]
    fields = {field for schema in schemas for field in schema.get("properties", ())}
    return fields | {parameter["name"] for parameter in operation.get("parameters", ())}

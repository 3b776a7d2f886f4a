"""docs/api.md is up to date with the API."""

import httpx
import pytest

from support.api_reference import PAGE, document, format_json, page
from support.openapi_document import document_of, operations


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


async def test_the_page_is_generated_from_the_document_that_is_served(client: httpx.AsyncClient) -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(await document_of(client)), "docs/api.md is older than the API: make openapi"
    assert page(document()) == written


async def test_every_operation_and_every_schema_has_one_section(client: httpx.AsyncClient) -> None:
    served = await document_of(client)
    written = page(served)
    for _method, path, operation in operations(served):
        assert written.count(f"\n### {operation['summary']}\n") == 1, path
    for name in served["components"]["schemas"]:
        assert written.count(f"\n### {name}\n") == 1, name


def test_json_is_split_into_lines_only_where_it_is_too_long() -> None:
    long = "x" * 80
    assert format_json({"a": [1, 2], "b": long, "c": [long]}) == (
        f'{{\n  "a": [1, 2],\n  "b": "{long}",\n  "c": ["{long}"]\n}}'
    )

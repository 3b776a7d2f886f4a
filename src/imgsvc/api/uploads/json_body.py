"""JSON uploads: one object with the products and the options as its members."""

import asyncio
import codecs
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException

from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.uploads.fields import JsonFields, JsonSourceFields
from imgsvc.errors import InvalidUpload, Problem

JSON_TYPE = "application/json"
TWO_SOURCES = "send the catalogue or the URL of one, not both."
JSON_COST = 4
"""The memory cost relative to a CSV of the same size: a list of empty objects takes 24 times as much as its text."""
_MAX_MEMBERS = 30
_MAX_BYTES = 2**16
_QUERY_PARAMETER = "validate_only"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
"""The spellings of a boolean in the query."""


async def read_json(
    data: bytes, query: Sequence[tuple[str, str]], context: dict[str, Any]
) -> tuple[JsonFields, list[Any] | None]:
    """Return the options of a JSON upload and its products, which are not validated yet; parse in a thread.

    With a `source_url`, the options are `JsonSourceFields` and there are no products.

    Raises:
        HTTPException: the body is not JSON (400).
        InvalidUpload: options are invalid; lists all of them.
    """
    return await asyncio.to_thread(_read, data, query, context)


def _read(
    data: bytes, query: Sequence[tuple[str, str]], context: dict[str, Any]
) -> tuple[JsonFields, list[Any] | None]:
    try:
        body = from_json(data.removeprefix(codecs.BOM_UTF8))
    except ValueError as exc:
        raise HTTPException(400, f"The body is not valid JSON: {exc}.") from exc
    if not isinstance(body, dict):
        raise _invalid(Problem("dict_type", "The JSON must be an object with a list of `products`."))
    products = body.pop("products", None)
    problems = []
    has_source = body.get("source_url") is not None
    if has_source and products is not None:
        problems.append(Problem("two_sources", f"source_url: {TWO_SOURCES}", column="source_url"))
    elif not has_source and not isinstance(products, list):
        problems.append(Problem("list_type", "products: must be a list of products.", column="products"))
    problems += _add_query(body, query)
    if len(body) > _MAX_MEMBERS or len(to_json(body)) > _MAX_BYTES:
        detail = f"Besides `products`, at most {_MAX_MEMBERS} fields with {_MAX_BYTES:,} bytes in total are allowed."
        raise _invalid(Problem("too_long", detail))
    try:
        kind = JsonSourceFields if has_source else JsonFields
        members = kind.model_validate_json(to_json(body), strict=True, context=context)
    except ValidationError as error:
        problems += from_pydantic(error.errors(include_url=False, include_context=False))
    if problems:
        raise _invalid(*problems)
    return members, products


def _add_query(body: dict[str, Any], query: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """Add the fields in the query to those in the body; yield a problem for each that cannot be."""
    for name, value in query:
        if name != _QUERY_PARAMETER:
            detail = f"{name}: with JSON, only `{_QUERY_PARAMETER}` may be in the query; put other fields in the body."
            yield Problem("extra_forbidden", detail, column=name, value=value[:200])
        elif name in body:
            yield Problem("repeated", f"{name}: given more than once.", column=name)
        else:
            body[name] = _BOOLEANS.get(value.lower(), value)


def _invalid(*problems: Problem) -> InvalidUpload:
    listed = "; ".join(problem.detail for problem in problems[:3])
    return InvalidUpload(f"The upload was rejected: {listed}", problems)

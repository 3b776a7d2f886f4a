"""An upload as JSON: products, and the fields beside them as members of one object."""

import asyncio
import codecs
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException

from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.uploads.fields import JsonFields
from imgsvc.errors import InvalidUpload, Problem

JSON_TYPE = "application/json"
JSON_WEIGHT = 4
"""Of CSVs of the same size: a list of empty objects takes 24 times as much memory as its text."""
_MAX_MEMBERS = 30
_MAX_BYTES = 2**16
_IN_QUERY = "validate_only"
_SPELLINGS = {"true": True, "1": True, "false": False, "0": False}
"""Of a truth in a query; Python's own has a capital."""


async def read_json(
    data: bytes, query: Sequence[tuple[str, str]], context: dict[str, Any]
) -> tuple[JsonFields, list[Any]]:
    """The members of a JSON upload and its products, which are not looked at; parsed in a thread.

    Raises:
        HTTPException: it is not JSON (400).
        InvalidUpload: with every member that cannot be accepted.
    """
    return await asyncio.to_thread(_read, data, query, context)


def _read(data: bytes, query: Sequence[tuple[str, str]], context: dict[str, Any]) -> tuple[JsonFields, list[Any]]:
    try:
        body = from_json(data.removeprefix(codecs.BOM_UTF8))
    except ValueError as exc:
        raise HTTPException(400, f"This is not JSON: {exc}.") from exc
    if not isinstance(body, dict):
        raise _refused(Problem("dict_type", "A JSON upload is an object with a list of `products`."))
    products = body.pop("products", None)
    problems = []
    if not isinstance(products, list):
        problems.append(Problem("list_type", "products: a list of products is needed.", column="products"))
    for name, value in query:
        if name != _IN_QUERY:
            detail = f"{name}: beside JSON the query has no field but `{_IN_QUERY}`."
            problems.append(Problem("extra_forbidden", detail, column=name, value=value[:200]))
        elif name in body:
            problems.append(Problem("repeated", f"{name}: given more than once.", column=name))
        else:
            body[name] = _SPELLINGS.get(value.lower(), value)
    if len(body) > _MAX_MEMBERS or len(to_json(body)) > _MAX_BYTES:
        raise _refused(Problem("too_long", "There is too much beside the products."))
    try:
        members = JsonFields.model_validate_json(to_json(body), strict=True, context=context)
    except ValidationError as error:
        problems += from_pydantic(error.errors(include_url=False, include_context=False))
    if problems:
        raise _refused(*problems)
    return members, products


def _refused(*problems: Problem) -> InvalidUpload:
    listed = "; ".join(problem.detail for problem in problems[:3])
    return InvalidUpload(f"The upload cannot be accepted: {listed}", problems)

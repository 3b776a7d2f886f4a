"""The API as a page to read, docs/api.md, out of its OpenAPI document."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from imgsvc.api.app import create_app
from imgsvc.settings.server import Settings
from support.openapi_document import Document, operations
from support.paths import DOCS

PAGE = DOCS / "api.md"
WIDTH = 110
FORM = "multipart/form-data"
INTRODUCTION = """\
# Every call

This page is written by a program from the API's OpenAPI document, which a running imgsvc serves as `/openapi.json` and
shows at `/docs`, where each call can be tried out. What a refusal looks like: [problems](problems.md). First steps: the
[quickstart](quickstart.md).

From the first API key on (`imgsvc keys create`) a call needs one, as `Authorization: Bearer isk_…`, unless it says
otherwise.
"""
LIMITS = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "exclusiveMinimum": "more than {:,}",
    "minLength": "{:,} letters or more",
    "maxLength": "{:,} letters at most",
    "maxItems": "{:,} at most",
}


def document() -> Document:
    """The document of an API with its default settings, whatever the environment says."""
    return create_app(Settings.model_construct()).openapi()


def page(document: Document) -> str:
    """The whole page; it ends with a line end."""
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(_parts(document))).rstrip() + "\n"


def _parts(document: Document) -> Iterator[str]:
    found = list(operations(document))
    yield INTRODUCTION
    yield _table(
        ("call", "does"),
        ((f"`{method.upper()} {path}`", _link(each["summary"])) for method, path, each in found),
    )
    for tag in document["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}"
        for method, path, operation in found:
            if operation["tags"] == [tag["name"]]:
                yield from _operation(method, path, operation)
    for event in document.get("webhooks", {}).values():
        yield "## What is posted to you"
        yield from _operation("post", "(your webhook_url)", event["post"])
    yield "## Objects"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {operation['summary']}\n\n`{method.upper()} {path}`"
    yield operation["description"]
    if "security" not in operation and path.startswith("/"):
        yield "Needs no API key."
    contents = operation.get("requestBody", {}).get("content", {})
    fields = set(contents.get(FORM, {}).get("schema", {}).get("properties", ()))
    parameters = [each for each in operation.get("parameters", ()) if each["name"] not in fields]
    if parameters:
        yield _table(("parameter", "in", "is", "means"), map(_parameter, parameters))
    for media_type, content in contents.items():
        yield f"Body, `{media_type}`:{_body(content['schema'])}"
        yield from _example(media_type, content)
    if fields:
        yield f"The fields beside the file are the same in the query, where the body is no `{FORM}`."
    yield _table(("status", "means", "body"), (_answer(*each) for each in sorted(operation["responses"].items())))
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media_type, content in response.get("content", {}).items():
                yield from _example(media_type, content)


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    schema = parameter["schema"]
    needed = " (needed)" if parameter.get("required") else ""
    means = parameter.get("description") or schema.get("description", "")
    return f"`{parameter['name']}`{needed}", parameter["in"], _kind(schema), means


def _body(schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        return " " + _kind(schema)
    return "\n\n" + _fields(schema, "needed")


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield schema.get("description", "")
    yield _fields(schema) if "properties" in schema else _kind(schema)


def _fields(schema: Mapping[str, Any], needed: str = "") -> str:
    """`needed` is what stands behind the names of those that must be given."""
    required = schema.get("required", ()) if needed else ()
    return _table(
        ("field", "is", "means"),
        (
            (f"`{name}`" + (f" ({needed})" if name in required else ""), _kind(field), field.get("description", ""))
            for name, field in schema["properties"].items()
        ),
    )


def _answer(status: str, response: Mapping[str, Any]) -> tuple[str, ...]:
    bodies = []
    for media_type, content in response.get("content", {}).items():
        if media_type == "application/problem+json":
            bodies.append(f"[`{content['example']['type'].rpartition(':')[2]}`](problems.md)")
        else:
            bodies.append(f"`{media_type}`: {_kind(content['schema'])}")
    headers = [f"`{name}`" for name in response.get("headers", ())]
    means = response["description"] + (f"; headers {', '.join(headers)}" if headers else "")
    return status, means, ", ".join(bodies)


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        words = _link(schema["$ref"].rpartition("/")[2])
    elif "anyOf" in schema:
        words = " or ".join(map(_kind, schema["anyOf"]))
    elif "const" in schema:
        words = f"`{json.dumps(schema['const'])}`"
    elif "enum" in schema:
        words = ", ".join(f"`{each}`" for each in schema["enum"])
    elif schema.get("type") == "array":
        words = f"list of {_kind(schema['items'])}"
    elif isinstance(schema.get("additionalProperties"), Mapping):
        words = f"object of {_kind(schema['additionalProperties'])}"
    else:
        words = " ".join(filter(None, (schema.get("format"), schema.get("type", "anything"))))
    limits = [words_of.format(schema[name]) for name, words_of in LIMITS.items() if name in schema]
    if schema.get("default") not in (None, "") and "const" not in schema:
        limits.append(f"else `{json.dumps(schema['default'], ensure_ascii=False)}`")
    return "; ".join([words, *limits])


def _example(media_type: str, content: Mapping[str, Any]) -> Iterator[str]:
    value = content.get("example")
    if value is None:
        return
    if isinstance(value, str):
        yield f"```{media_type.rpartition('/')[2].partition(';')[0]}\n{value.rstrip()}\n```"
    else:
        yield f"```json\n{laid_out(value)}\n```"


def laid_out(value: Any, indent: str = "") -> str:
    """JSON with a line for each thing that has no room on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent + flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        pieces = [f"{inner}{json.dumps(name)}: {laid_out(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(pieces) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + laid_out(each, inner) for each in value) + f"\n{indent}]"


def _link(heading: str) -> str:
    """To the heading on this page, as GitHub names its anchor."""
    return f"[{heading}](#{re.sub(r'[^a-z0-9 _-]', '', heading.lower()).replace(' ', '-')})"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |" for line in lines
    )

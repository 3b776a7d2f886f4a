"""Generates docs/api.md, the API reference, from the OpenAPI document."""

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
REQUIRED = " (required)"
FORM = "multipart/form-data"
INTRODUCTION = """\
# API reference

This page is generated from the OpenAPI document of the API. A running imgsvc serves the document as `/openapi.json` and
shows it at `/docs`, where you can try out every operation. See also: [error responses](problems.md), the
[quickstart](quickstart.md).

Once an API key exists (`imgsvc keys create`), every operation requires one, as `Authorization: Bearer isk_…`, unless
stated otherwise.
"""
LIMITS = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "exclusiveMinimum": "more than {:,}",
    "minLength": "{:,} or more characters",
    "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,} items",
}


def document() -> Document:
    """Return the document of an API with default settings, regardless of the environment."""
    return create_app(Settings.model_construct()).openapi()


def page(document: Document) -> str:
    """Return the whole page, including a final line end."""
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(_parts(document))).rstrip() + "\n"


def _parts(document: Document) -> Iterator[str]:
    documented = list(operations(document))
    yield INTRODUCTION
    yield _table(
        ("operation", "summary"),
        ((f"`{method.upper()} {path}`", _link(each["summary"])) for method, path, each in documented),
    )
    for tag in document["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}"
        for method, path, operation in documented:
            if operation["tags"] == [tag["name"]]:
                yield from _operation(method, path, operation)
    for event in document.get("webhooks", {}).values():
        yield "## Webhook events"
        yield from _operation("post", "(your webhook_url)", event["post"])
    yield "## Schemas"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {operation['summary']}\n\n`{method.upper()} {path}`"
    yield operation["description"]
    if "security" not in operation and path.startswith("/"):
        yield "No API key is required."
    contents = operation.get("requestBody", {}).get("content", {})
    fields = set(contents.get(FORM, {}).get("schema", {}).get("properties", ()))
    parameters = [each for each in operation.get("parameters", ()) if each["name"] not in fields]
    if parameters:
        yield _table(("parameter", "in", "type", "description"), map(_parameter, parameters))
    for media_type, content in contents.items():
        yield f"Body, `{media_type}`:{_body(content['schema'])}"
        yield from _example(media_type, content)
    if fields:
        yield f"If the body is not `{FORM}`, send the same fields, without `file`, in the query."
    responses = sorted(operation["responses"].items())
    yield _table(("status", "description", "body"), (_response(*each) for each in responses))
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media_type, content in response.get("content", {}).items():
                yield from _example(media_type, content)


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    schema = parameter["schema"]
    required = REQUIRED if parameter.get("required") else ""
    description = parameter.get("description") or schema.get("description", "")
    return f"`{parameter['name']}`{required}", parameter["in"], _type(schema), description


def _body(schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        return " " + _type(schema)
    return "\n\n" + _fields(schema, required_mark=REQUIRED)


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield schema.get("description", "")
    yield _fields(schema) if "properties" in schema else _type(schema)


def _fields(schema: Mapping[str, Any], *, required_mark: str = "") -> str:
    """Return a table of the fields, with `required_mark` after the names of required ones."""
    required = schema.get("required", ())
    return _table(
        ("field", "type", "description"),
        (
            (f"`{name}`" + (required_mark if name in required else ""), _type(field), field.get("description", ""))
            for name, field in schema["properties"].items()
        ),
    )


def _response(status: str, response: Mapping[str, Any]) -> tuple[str, ...]:
    bodies = []
    for media_type, content in response.get("content", {}).items():
        if media_type == "application/problem+json":
            bodies.append(f"[`{content['example']['type'].rpartition(':')[2]}`](problems.md)")
        else:
            bodies.append(f"`{media_type}`: {_type(content['schema'])}")
    headers = [f"`{name}`" for name in response.get("headers", ())]
    description = response["description"] + (f"; headers {', '.join(headers)}" if headers else "")
    return status, description, ", ".join(bodies)


def _type(schema: Mapping[str, Any]) -> str:
    """Describe the type, the limits and the default of a value."""
    if "$ref" in schema:
        words = _link(schema["$ref"].rpartition("/")[2])
    elif "anyOf" in schema:
        words = " or ".join(map(_type, schema["anyOf"]))
    elif "const" in schema:
        words = f"`{json.dumps(schema['const'])}`"
    elif "enum" in schema:
        words = ", ".join(f"`{each}`" for each in schema["enum"])
    elif schema.get("type") == "array":
        words = f"list of {_type(schema['items'])}"
    elif isinstance(schema.get("additionalProperties"), Mapping):
        words = f"object of {_type(schema['additionalProperties'])}"
    else:
        words = " ".join(filter(None, (schema.get("format"), schema.get("type", "anything"))))
    limits = [template.format(schema[name]) for name, template in LIMITS.items() if name in schema]
    if schema.get("default") not in (None, "") and "const" not in schema:
        limits.append(f"default `{json.dumps(schema['default'], ensure_ascii=False)}`")
    return "; ".join([words, *limits])


def _example(media_type: str, content: Mapping[str, Any]) -> Iterator[str]:
    value = content.get("example")
    if value is None:
        return
    if isinstance(value, str):
        yield f"```{media_type.rpartition('/')[2].partition(';')[0]}\n{value.rstrip()}\n```"
    else:
        yield f"```json\n{format_json(value)}\n```"


def format_json(value: Any, indent: str = "") -> str:
    """Format JSON; objects and lists that do not fit on one line get a line per item."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent + flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        members = [f"{inner}{json.dumps(name)}: {format_json(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + format_json(each, inner) for each in value) + f"\n{indent}]"


def _link(heading: str) -> str:
    """Return a link to a heading on this page, by the anchor that GitHub gives it."""
    return f"[{heading}](#{re.sub(r'[^a-z0-9 _-]', '', heading.lower()).replace(' ', '-')})"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |" for line in lines
    )

"""The upload in the OpenAPI document: a form, a query string and JSON that work with "Try it out"."""

from typing import Any

from imgsvc.api.uploads.fields import JsonSourceFields, UploadFields
from imgsvc.api.uploads.json_body import JSON_TYPE
from imgsvc.api.uploads.read import ANY_TYPE, FILE_TYPES, MULTIPART
from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.read_json import ListedProduct

EXAMPLE_CSV = """\
S. No.,Product Name,Input Image Urls
1,Mountain print,"https://picsum.photos/id/29/1200/800.jpg,https://picsum.photos/id/29/800/1200.jpg"
2,Coffee mug,https://picsum.photos/id/30/1200/800.jpg
"""


EXAMPLE_JSON: dict[str, Any] = {
    "products": [
        {
            "serial_number": "1",
            "product_name": "Mountain print",
            "input_urls": ["https://picsum.photos/id/29/1200/800.jpg", "https://picsum.photos/id/29/800/1200.jpg"],
        },
        {
            "serial_number": "2",
            "product_name": "Coffee mug",
            "input_urls": ["https://picsum.photos/id/30/1200/800.jpg"],
        },
    ],
    "quality": 50,
}


def _json_schema() -> dict[str, Any]:
    """Return the schema of a JSON upload: the products or the `source_url`, and the other members."""
    product = ListedProduct.model_json_schema()
    product["title"] = "ListedProduct"
    properties = JsonSourceFields.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    properties["columns"]["anyOf"][0] = Columns.model_json_schema()  # no other operation has it in the document
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "products": {
                "type": "array",
                "minItems": 1,
                "description": "The products, unless there is a `source_url`; the whole body may have at most 8 MiB.",
                "items": product,
            },
            **properties,
        },
    }


def _upload_schema() -> dict[str, Any]:
    schema = UploadFields.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    properties: dict[str, Any] = {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The catalogue: CSV or another format; none with a `source_url`.",
        },
        **{name: _form_field(field) for name, field in schema["properties"].items()},
    }
    return {"type": "object", "properties": properties}


def _form_field(field: dict[str, Any]) -> dict[str, Any]:
    """Convert a property to a form field: without the null that JSON needs, and with JSON as a plain string.

    The media type is omitted, because the docs page shows a file chooser for a string with one. The example is empty,
    because the docs page would otherwise fill in, and send, a sample (a width of 1, the URL "string").
    """
    types = [schema for schema in field.get("anyOf", []) if schema.get("type") != "null"]
    result = {name: value for name, value in field.items() if name not in ("anyOf", "default", "title")}
    if field.get("default") is not None:
        result["default"] = field["default"]
    if types:
        result |= types[0]
    if result.get("contentMediaType") == "application/json":
        result = {"type": "string", "description": field["description"]}
    return result if "default" in result else result | {"example": ""}


def _query_parameters() -> list[dict[str, Any]]:
    properties = _upload_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": field["description"] + (f" Default: `{field['default']}`." if "default" in field else ""),
            "schema": {key: value for key, value in field.items() if key not in ("description", "default", "example")},
        }
        for name, field in properties.items()
        if name != "file"
    ]


UPLOAD_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            FILE_TYPES[0]: {"schema": {"type": "string"}, "example": EXAMPLE_CSV},
            MULTIPART: {"schema": _upload_schema()},
            JSON_TYPE: {"schema": _json_schema(), "example": EXAMPLE_JSON},
            ANY_TYPE: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": _query_parameters(),
}

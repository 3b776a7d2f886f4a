"""What the docs page shows and sends: an upload that works with "Try it out", and what comes of it."""

from hashlib import sha256
from typing import Any

from imgsvc.api.uploads import CSV_TYPES, MULTIPART, UploadFields
from imgsvc.domain.specs import Spec

EXAMPLE_CSV = """\
S. No.,Product Name,Input Image Urls
1,Mountain print,"https://picsum.photos/id/29/1200/800.jpg,https://picsum.photos/id/29/800/1200.jpg"
2,Coffee mug,https://picsum.photos/id/30/1200/800.jpg
"""


EXAMPLE_ID = "bat_01m81syxdvn0cchm7jgbq1vyb2"
_BASE = "http://127.0.0.1:8000"
_SELF = f"{_BASE}/v1/batches/{EXAMPLE_ID}"
_MEDIA = f"{_BASE}/media/{EXAMPLE_ID}"
_INPUTS = ("https://picsum.photos/id/29/1200/800.jpg", "https://picsum.photos/id/29/800/1200.jpg")

ACCEPTED: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "object": "batch",
    "status": "pending",
    "specs": [Spec(name="main").model_dump(mode="json")],
    "counts": {
        "products": 2,
        "urls": 3,
        "assets": {"total": 3, "pending": 3, "processing": 0, "succeeded": 0, "failed": 0, "cancelled": 0},
    },
    "progress": 0,
    "bytes": {"input": 0, "output": 0, "saved_ratio": None},
    "errors_by_code": {},
    "manifest": {
        "filename": "catalog.csv",
        "sha256": sha256(EXAMPLE_CSV.encode()).hexdigest(),
        "encoding": "utf-8",
        "delimiter": ",",
        "warnings": [],
        "warnings_total": 0,
    },
    "webhook": None,
    "metadata": {},
    "created_at": "2026-11-22T09:30:00Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "links": {"self": _SELF, "products": f"{_SELF}/products", "output_csv": f"{_SELF}/output.csv"},
}
BATCH: dict[str, Any] = ACCEPTED | {
    "status": "completed_with_errors",
    "counts": {
        "products": 2,
        "urls": 3,
        "assets": {"total": 3, "pending": 0, "processing": 0, "succeeded": 2, "failed": 1, "cancelled": 0},
    },
    "progress": 1,
    "bytes": {"input": 411_320, "output": 122_860, "saved_ratio": 0.701},
    "errors_by_code": {"http_404": 1},
    "started_at": "2026-11-22T09:30:00.041000Z",
    "finished_at": "2026-11-22T09:30:02.310000Z",
}
PRODUCTS: dict[str, Any] = {
    "data": [
        {
            "position": 0,
            "serial_number": "1",
            "product_name": "Mountain print",
            "input_urls": list(_INPUTS),
            "output_urls": [f"{_MEDIA}/0-mountain-print-5d1c0e7a.jpg", None],
            "assets": [
                {
                    "input_url": _INPUTS[0],
                    "status": "succeeded",
                    "output_url": f"{_MEDIA}/0-mountain-print-5d1c0e7a.jpg",
                    "action": "compressed",
                    "input_format": "jpeg",
                    "output_format": "jpeg",
                    "width": 1200,
                    "height": 800,
                    "input_bytes": 205_660,
                    "output_bytes": 61_430,
                    "error": None,
                },
                {
                    "input_url": _INPUTS[1],
                    "status": "failed",
                    "output_url": None,
                    "action": None,
                    "input_format": None,
                    "output_format": None,
                    "width": None,
                    "height": None,
                    "input_bytes": None,
                    "output_bytes": None,
                    "error": {
                        "code": "http_404",
                        "http_status": 404,
                        "detail": "The server has no such image (HTTP 404).",
                    },
                },
            ],
        }
    ],
    "has_more": True,
    "next": 0,
}
OUTPUT_CSV = f"""\
S. No.,Product Name,Input Image Urls,Output Image Urls
1,Mountain print,"{",".join(_INPUTS)}","{_MEDIA}/0-mountain-print-5d1c0e7a.jpg,"
2,Coffee mug,https://picsum.photos/id/30/1200/800.jpg,{_MEDIA}/2-coffee-mug-9b1f4c22.jpg
"""


def example(body: dict[str, Any]) -> dict[str, Any]:
    """A response's JSON example, beside the schema that the route gives."""
    return {"content": {"application/json": {"example": body}}}


def _upload_schema() -> dict[str, Any]:
    schema = UploadFields.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary", "description": "The CSV."},
        **{name: _form_field(field) for name, field in schema["properties"].items()},
    }
    return {"type": "object", "required": ["file"], "properties": properties}


def _form_field(field: dict[str, Any]) -> dict[str, Any]:
    """A property as a form shows it: without the null that JSON would need, and JSON texts as plain strings.

    The docs page shows a file chooser for a string with a media type: it is left out. And it fills in a sample (a width
    of 1, the URL "string") that would then be sent, unless an empty one says that the field may stay empty.
    """
    kinds = [kind for kind in field.get("anyOf", []) if kind.get("type") != "null"]
    plain = {name: value for name, value in field.items() if name not in ("anyOf", "default", "title")}
    if field.get("default") is not None:
        plain["default"] = field["default"]
    if kinds:
        plain |= kinds[0]
    if plain.get("contentMediaType") == "application/json":
        plain = {"type": "string", "description": field["description"]}
    return plain if "default" in plain else plain | {"example": ""}


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
        "required": True,
        "content": {
            CSV_TYPES[0]: {"schema": {"type": "string"}, "example": EXAMPLE_CSV},
            MULTIPART: {"schema": _upload_schema()},
        },
    },
    "parameters": _query_parameters(),
}

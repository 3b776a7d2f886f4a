"""The example responses on the docs page, one for each operation."""

from hashlib import sha256
from typing import Any

from imgsvc.api.uploads.form import EXAMPLE_CSV
from imgsvc.domain.imaging.spec import Spec

EXAMPLE_ID = "bat_01m81syxdvn0cchm7jgbq1vyb2"
EXAMPLE_EVENT_ID = "evt_01m81sz00wq6j8v5n2m3k4r7xt"
_SELF = f"http://127.0.0.1:8000/v1/batches/{EXAMPLE_ID}"
MEDIA = f"http://127.0.0.1:8000/media/{EXAMPLE_ID}"
INPUTS = ("https://picsum.photos/id/29/1200/800.jpg", "https://picsum.photos/id/29/800/1200.jpg")
_HEADERS = EXAMPLE_CSV.splitlines()[0].split(",")
_ROLES = ["serial_number", "product_name", "image_urls", "image_columns"]
_SHA256 = sha256(EXAMPLE_CSV.encode()).hexdigest()
_READING: dict[str, Any] = {
    "format": "csv",
    "sheet": None,
    "encoding": "utf-8",
    "delimiter": ",",
    "preset": "basic",
    "columns": dict(zip(_ROLES, [*_HEADERS, _HEADERS[2:]], strict=True)),
    "warnings": [],
    "warnings_total": 0,
}


def _counts(**assets: int) -> dict[str, Any]:
    """Return the counts of the example batch, with its three assets by status."""
    statuses = ("pending", "processing", "succeeded", "failed", "cancelled")
    return {"products": 2, "urls": 3, "assets": {"total": 3, **dict.fromkeys(statuses, 0), **assets}}


ACCEPTED: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "object": "batch",
    "status": "pending",
    "specs": [Spec(name="main").model_dump(mode="json")],
    "counts": _counts(pending=3),
    "progress": 0,
    "bytes": {"input": 0, "output": 0, "saved_ratio": None},
    "errors_by_code": {},
    "manifest": {"filename": "catalog.csv", "source_url": None, "sha256": _SHA256, **_READING},
    "catalogue": None,
    "changes": None,
    "webhook": None,
    "metadata": {},
    "created_at": "2026-11-22T09:30:00Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "links": {
        "self": _SELF,
        "products": f"{_SELF}/products",
        "events": f"{_SELF}/events",
        "output": f"{_SELF}/output.csv",
        "output_csv": f"{_SELF}/output.csv",
        "failures_csv": f"{_SELF}/failures.csv",
        "changes_csv": None,
        "checks_csv": f"{_SELF}/checks.csv",
        "archive_zip": f"{_SELF}/archive.zip",
    },
}
BATCH: dict[str, Any] = ACCEPTED | {
    "status": "completed_with_errors",
    "counts": _counts(succeeded=2, failed=1),
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
            "input_urls": list(INPUTS),
            "output_urls": [f"{MEDIA}/0-mountain-print-5d1c0e7a.jpg", None],
            "change": None,
            "assets": [
                {
                    "input_url": INPUTS[0],
                    "column": "Input Image Urls",
                    "status": "succeeded",
                    "output_url": f"{MEDIA}/0-mountain-print-5d1c0e7a.jpg",
                    "action": "compressed",
                    "input_format": "jpeg",
                    "output_format": "jpeg",
                    "width": 1200,
                    "height": 800,
                    "input_bytes": 205_660,
                    "output_bytes": 61_430,
                    "renditions": [
                        {
                            "name": "main",
                            "url": f"{MEDIA}/0-mountain-print-5d1c0e7a.jpg",
                            "action": "compressed",
                            "format": "jpeg",
                            "width": 1200,
                            "height": 800,
                            "bytes": 61_430,
                        },
                    ],
                    "error": None,
                },
                {
                    "input_url": INPUTS[1],
                    "column": "Input Image Urls",
                    "status": "failed",
                    "output_url": None,
                    "action": None,
                    "input_format": None,
                    "output_format": None,
                    "width": None,
                    "height": None,
                    "input_bytes": None,
                    "output_bytes": None,
                    "renditions": [],
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
VALIDATION: dict[str, Any] = {
    "object": "validation",
    "products": 2,
    "urls": 3,
    "assets": 3,
    "invalid_urls": 0,
    "hosts": [{"host": "picsum.photos", "assets": 3}],
    "hosts_total": 1,
    **_READING,
}
CANCELLED: dict[str, Any] = BATCH | {
    "status": "cancelled",
    "counts": _counts(succeeded=1, cancelled=2),
    "bytes": {"input": 205_660, "output": 61_430, "saved_ratio": 0.701},
    "errors_by_code": {},
}
RETRIED: dict[str, Any] = BATCH | {
    "status": "pending",
    "counts": _counts(pending=1, succeeded=2),
    "progress": 0.667,
    "errors_by_code": {},
    "finished_at": None,
}
DELIVERY: dict[str, Any] = {
    "id": EXAMPLE_EVENT_ID,
    "object": "delivery",
    "batch_id": EXAMPLE_ID,
    "round": 1,
    "event_type": "batch.completed_with_errors",
    "url": "https://shop.example/hook",
    "status": "pending",
    "attempts": 1,
    "created_at": "2026-11-22T09:30:02.310000Z",
    "next_attempt_at": "2026-11-22T09:30:07.410000Z",
    "log": [
        {
            "number": 1,
            "at": "2026-11-22T09:30:02.330000Z",
            "duration": 0.084,
            "http_status": 500,
            "error": None,
            "answer": "Internal Server Error",
        }
    ],
}
DELIVERIES: dict[str, Any] = {"data": [DELIVERY]}
TEST_RESULT: dict[str, Any] = {
    "id": EXAMPLE_EVENT_ID,
    "delivered": True,
    "duration": 0.052,
    "http_status": 204,
    "error": None,
    "answer": "",
}
BATCH_LIST: dict[str, Any] = {"data": [BATCH], "has_more": True, "next": EXAMPLE_ID}


def example(body: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON example of a response, to be merged with the schema that the route defines."""
    return {"content": {"application/json": {"example": body}}}

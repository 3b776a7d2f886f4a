"""The example responses on the docs page that are not JSON."""

import json

from imgsvc.api.openapi.examples import ACCEPTED, BATCH, EXAMPLE_ID, INPUTS, MEDIA

OUTPUT_CSV = f"""\
S. No.,Product Name,Input Image Urls,Output Image Urls
1,Mountain print,"{",".join(INPUTS)}","{MEDIA}/0-mountain-print-5d1c0e7a.jpg,"
2,Coffee mug,https://picsum.photos/id/30/1200/800.jpg,{MEDIA}/2-coffee-mug-9b1f4c22.jpg
"""
FAILURES_CSV = f"""\
S. No.,Product Name,Input Image Urls,Error
1,Mountain print,{INPUTS[1]},http_404: The server has no such image (HTTP 404).
"""
CHANGES_CSV = f"""\
S. No.,Product Name,Input Image Urls,Output Image Urls
2,Coffee mug,https://picsum.photos/id/30/1200/800.jpg,{MEDIA}/2-coffee-mug-9b1f4c22.jpg
"""
_PROGRESS_FIELDS = ("status", "counts", "progress", "bytes", "errors_by_code")


def _event(name: str, version: int, batch: dict[str, object]) -> str:
    data = {"id": EXAMPLE_ID, "object": "progress", **{field: batch[field] for field in _PROGRESS_FIELDS}}
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\nid: {version}\n\n"


EVENTS = f"retry: 2000\n\n{_event('progress', 1, ACCEPTED)}{_event('end', 4, BATCH)}"

"""Size limits of request bodies: the setting for uploads, less for JSON, little for everything else."""

from starlette.datastructures import Headers
from starlette.types import Scope

UPLOADS = "/v1/batches"
MAX_OTHER_BYTES = 2**16
"""Bytes of a body that is not an upload."""
MAX_JSON_BYTES = 2**23
"""Bytes of a JSON upload: it is parsed in one call, which blocks every thread (16 MiB for 160 to 440 ms, measured), and
takes up to 24 times as much memory."""


def max_body_bytes(scope: Scope, max_upload_bytes: int) -> int:
    """Return the limit for the body of this request."""
    if scope["path"] != UPLOADS:
        return MAX_OTHER_BYTES
    is_json = Headers(scope=scope).get("content-type", "").lower().startswith("application/json")
    return min(MAX_JSON_BYTES, max_upload_bytes) if is_json else max_upload_bytes


def too_large_detail(scope: Scope, max_upload_bytes: int) -> str:
    limit = max_body_bytes(scope, max_upload_bytes)
    if scope["path"] != UPLOADS:
        return f"The body is larger than {limit:,} bytes. Only uploads may be larger."
    size = f"The body is larger than {limit / 2**20:g} MiB"
    if limit < max_upload_bytes:
        return f"{size}, the limit for JSON. Send a CSV, which may have up to {max_upload_bytes / 2**20:g} MiB."
    return f"{size} (setting IMGSVC_MAX_UPLOAD_BYTES). Split the CSV into several uploads."

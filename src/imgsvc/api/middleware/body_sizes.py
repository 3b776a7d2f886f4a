"""How large a body may be: uploads as the settings say, JSON ones less, others hardly at all."""

from starlette.datastructures import Headers
from starlette.types import Scope

UPLOADS = "/v1/batches"
MAX_OTHER = 2**16
"""Bytes of a body that is no upload."""
MAX_JSON = 2**23
"""Bytes of an upload as JSON: it is parsed in one go, which holds every thread up (16 MiB for 160 to 440 ms, measured),
and takes up to 24 times as much in memory."""


def max_body_bytes(scope: Scope, max_upload_bytes: int) -> int:
    """Of the body of this request."""
    if scope["path"] != UPLOADS:
        return MAX_OTHER
    is_json = Headers(scope=scope).get("content-type", "").lower().startswith("application/json")
    return min(MAX_JSON, max_upload_bytes) if is_json else max_upload_bytes


def why_too_large(scope: Scope, max_upload_bytes: int) -> str:
    most = max_body_bytes(scope, max_upload_bytes)
    if scope["path"] != UPLOADS:
        return f"The body is larger than {most:,} bytes; only uploads may be."
    size = f"The body is larger than {most / 2**20:g} MiB"
    if most < max_upload_bytes:
        return f"{size}; a CSV may have {max_upload_bytes / 2**20:g} MiB."
    return f"{size} (setting IMGSVC_MAX_UPLOAD_BYTES)."

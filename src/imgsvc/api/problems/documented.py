"""The error responses of an operation, as the OpenAPI document shows them."""

from typing import Any

from imgsvc.api.problems.responses import MEDIA_TYPE, RETRY_AFTER

_EXAMPLE_ID = "01m81syxdvn0cchm7jgbq1vyb2"
# status → when it happens, the problem's type, its title, an example of its detail
_REFUSALS = {
    400: (
        "The request cannot be parsed",
        "malformed-request",
        "Malformed request",
        "There was an error parsing the body",
    ),
    401: (
        "An API key is required, and it is missing or wrong",
        "unauthorized",
        "API key required",
        "Send an API key as `Authorization: Bearer isk_…`.",
    ),
    403: (
        "No API key is required, and the request came from another website, for another host name or through a proxy",
        "foreign-page",
        "Cross-origin request refused",
        "Requests from pages of https://elsewhere.example are refused without an API key.",
    ),
    404: (
        "The resource does not exist, or it belongs to another API key",
        "not-found",
        "Not found",
        "There is nothing of this name, or it belongs to another API key.",
    ),
    409: (
        "The batch is still running",
        "batch-not-finished",
        "Batch not finished",
        f"Batch bat_{_EXAMPLE_ID} is still processing.",
    ),
    413: (
        "The body is larger than the service accepts",
        "upload-too-large",
        "Upload too large",
        "The body is larger than 64 MiB (setting IMGSVC_MAX_UPLOAD_BYTES). Split the CSV into several uploads.",
    ),
    415: (
        "The body is neither a form nor CSV nor JSON",
        "unsupported-media-type",
        "Unsupported media type",
        "Send multipart/form-data with the CSV as `file`, the CSV itself as text/csv, or products as application/json.",
    ),
    422: (
        "A parameter, a field or the CSV is invalid; `errors` lists every problem found",
        "invalid-request",
        "Invalid parameter",
        "",
    ),
    429: (
        "The API key has too many requests or unfinished images; try again after `Retry-After` seconds",
        "too-many",
        "Too many requests",
        "More than 300 uploads in a minute (setting IMGSVC_UPLOADS_PER_MINUTE).",
    ),
    503: (
        "A component of the service is unavailable; repeat the request after `Retry-After` seconds",
        "database-unavailable",
        "Database unavailable",
        "Database unavailable; try again in a moment.",
    ),
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "examples": [RETRY_AFTER]},
    }
}
_CHALLENGE = {"WWW-Authenticate": {"description": "The authentication scheme.", "schema": {"type": "string"}}}
RATE_HEADERS = {
    "RateLimit-Policy": {
        "description": "The limit of the API key: `q` uploads in `w` seconds.",
        "schema": {"type": "string", "examples": ['"uploads";q=300;w=60']},
    },
    "RateLimit": {
        "description": "`r` uploads remain; more are available in `t` seconds.",
        "schema": {"type": "string", "examples": ['"uploads";r=299;t=60']},
    },
}
_HEADERS = {401: _CHALLENGE, 429: {**_RETRY_AFTER, **RATE_HEADERS}, 503: _RETRY_AFTER}
_MANIFEST_ERROR = {
    "row": 3,
    "column": "Input Image Urls",
    "code": "invalid_url",
    "value": "htp:/shop.example/a.jpg",
    "detail": "The URL must begin with http:// or https://.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation that may refuse with these statuses."""
    return {status: _response(status) for status in statuses}


def refused_parameter(name: str, value: str, code: str, reason: str) -> dict[int | str, dict[str, Any]]:
    """Return the 422 of an operation that checks its parameters, with this one as the example."""
    problem = {"row": None, "column": name, "code": code, "value": value, "detail": f"{name}: {reason}"}
    response = _response(422)
    response["content"][MEDIA_TYPE]["example"] |= {"detail": problem["detail"], "errors": [problem], "errors_total": 1}
    return {422: response}


def refused_state(code: str, title: str, detail: str) -> dict[int | str, dict[str, Any]]:
    """Return the 409 of an operation that requires another state of the batch."""
    response = _response(409)
    response["description"] = title
    problem = {"type": f"urn:imgsvc:problem:{code}", "title": title, "detail": f"Batch bat_{_EXAMPLE_ID} {detail}"}
    response["content"][MEDIA_TYPE]["example"] |= problem
    return {409: response}


def refused_upload() -> dict[int | str, dict[str, Any]]:
    """Return the 422 of an upload, with a problem in a CSV as the example."""
    response = _response(422)
    response["content"][MEDIA_TYPE]["example"] |= {
        "type": "urn:imgsvc:problem:invalid-manifest",
        "title": "Invalid catalogue",
        "detail": "The catalogue was rejected (line 3): The URL must begin with http:// or https://.",
        "errors": [_MANIFEST_ERROR],
        "errors_total": 1,
    }
    return {422: response}


def _response(status: int) -> dict[str, Any]:
    description, code, title, detail = _REFUSALS[status]
    example = {
        "type": f"urn:imgsvc:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "/v1/batches",
        "request_id": f"req_{_EXAMPLE_ID}",
        "errors": [],
        "errors_total": 0,
    }
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    response: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})

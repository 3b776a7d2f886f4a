"""The refusals of an operation, as the OpenAPI document shows them."""

from typing import Any

from imgsvc.api.problems.responses import MEDIA_TYPE, RETRY_AFTER

_EXAMPLE_ID = "01m81syxdvn0cchm7jgbq1vyb2"
# status → when it happens, the problem's type, its title, a detail
_REFUSALS = {
    400: (
        "The request cannot be read",
        "malformed-request",
        "The request cannot be read",
        "There was an error parsing the body",
    ),
    401: (
        "An API key is needed, and there is none or a wrong one",
        "unauthorized",
        "An API key is needed",
        "Send an API key as `Authorization: Bearer isk_…`.",
    ),
    403: (
        "No API key is needed, and the request came from another website, under another name, or with a proxy's header",
        "foreign-page",
        "Not for pages of others",
        "A page of https://elsewhere.example may not use this imgsvc without an API key.",
    ),
    404: (
        "There is no such thing",
        "not-found",
        "Not found",
        "There is nothing of this name, or it belongs to another API key.",
    ),
    409: (
        "The batch is still running",
        "batch-not-finished",
        "The batch is not finished",
        f"Batch bat_{_EXAMPLE_ID} is still processing.",
    ),
    413: (
        "The body is larger than the service accepts",
        "upload-too-large",
        "The upload is too large",
        "The body is larger than 64 MiB (setting IMGSVC_MAX_UPLOAD_BYTES).",
    ),
    415: (
        "The body is no form, no CSV and no JSON",
        "unsupported-media-type",
        "The body has an unsupported media type",
        "Send multipart/form-data with the CSV as `file`, the CSV itself as text/csv, or products as application/json.",
    ),
    422: (
        "A parameter, a field or the CSV cannot be accepted; `errors` has every problem found",
        "invalid-request",
        "A parameter cannot be accepted",
        "",
    ),
    429: (
        "The API key has uploaded too often, or has too much that is not done; try again after `Retry-After` seconds",
        "too-many",
        "Too much at one time",
        "More than 300 uploads in a minute (setting IMGSVC_UPLOADS_PER_MINUTE).",
    ),
    503: (
        "A part of the service is away; the same request is worth another try after `Retry-After` seconds",
        "database-unavailable",
        "The database is away",
        "The database is away; try again in a moment.",
    ),
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "examples": [RETRY_AFTER]}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}}}
RATE_HEADERS = {
    "RateLimit-Policy": {
        "description": "Uploads that an API key may make (`q`) in how many seconds (`w`).",
        "schema": {"type": "string", "examples": ['"uploads";q=300;w=60']},
    },
    "RateLimit": {
        "description": "How many are left (`r`), and in how many seconds there are more (`t`).",
        "schema": {"type": "string", "examples": ['"uploads";r=299;t=60']},
    },
}
_HEADERS = {401: _CHALLENGE, 429: {**_RETRY_AFTER, **RATE_HEADERS}, 503: _RETRY_AFTER}
_MANIFEST_ERROR = {
    "row": 3,
    "column": "Input Image Urls",
    "code": "invalid_url",
    "value": "htp:/shop.example/a.jpg",
    "detail": "A web address begins with http:// or https://.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may refuse with these statuses."""
    return {status: _response(status) for status in statuses}


def refused_parameter(name: str, value: str, code: str, why: str) -> dict[int | str, dict[str, Any]]:
    """The 422 of an operation that checks its parameters, with this one as the example."""
    problem = {"row": None, "column": name, "code": code, "value": value, "detail": f"{name}: {why}"}
    response = _response(422)
    response["content"][MEDIA_TYPE]["example"] |= {"detail": problem["detail"], "errors": [problem], "errors_total": 1}
    return {422: response}


def refused_state(code: str, title: str, detail: str) -> dict[int | str, dict[str, Any]]:
    """The 409 of an operation that asks for another state of the batch."""
    response = _response(409)
    response["description"] = title
    told = {"type": f"urn:imgsvc:problem:{code}", "title": title, "detail": f"Batch bat_{_EXAMPLE_ID} {detail}"}
    response["content"][MEDIA_TYPE]["example"] |= told
    return {409: response}


def refused_upload() -> dict[int | str, dict[str, Any]]:
    """The 422 of an upload, with a CSV's problem as the example."""
    response = _response(422)
    response["content"][MEDIA_TYPE]["example"] |= {
        "type": "urn:imgsvc:problem:invalid-manifest",
        "title": "The catalogue cannot be accepted",
        "detail": "The catalogue cannot be accepted (line 3): A web address begins with http:// or https://.",
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

"""Every type of problem: the HTTP status and title of each error, and the schema of the response."""

from collections.abc import Mapping

from pydantic import BaseModel, Field, JsonValue

from imgsvc.errors import (
    BatchFinished,
    BatchNotFinished,
    CrossOriginRefused,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    ImgsvcError,
    InvalidManifest,
    InvalidUpload,
    LimitExceeded,
    NotCompared,
    NotFound,
    NothingToRetry,
    SandboxUnavailable,
    StorageError,
    TooMany,
    Unauthorized,
    UnsupportedMediaType,
)

# error type → (HTTP status, title)
STATUSES: Mapping[type[ImgsvcError], tuple[int, str]] = {
    InvalidManifest: (422, "Invalid catalogue"),
    InvalidUpload: (422, "Invalid upload field"),
    IdempotencyKeyReused: (422, "Idempotency-Key used for another upload"),
    LimitExceeded: (422, "Upload limit exceeded"),
    Unauthorized: (401, "API key required"),
    CrossOriginRefused: (403, "Cross-origin request refused"),
    TooMany: (429, "Too many requests"),
    UnsupportedMediaType: (415, "Unsupported media type"),
    NotFound: (404, "Not found"),
    BatchNotFinished: (409, "Batch not finished"),
    NotCompared: (409, "Batch not compared"),
    BatchFinished: (409, "Batch already finished"),
    NothingToRetry: (409, "Nothing to retry"),
    DatabaseUnavailable: (503, "Database unavailable"),
    StorageError: (503, "Storage unavailable"),
    SandboxUnavailable: (503, "Sandbox unavailable"),
}

TITLES = {
    400: ("malformed_request", "Malformed request"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("upload_too_large", "Upload too large"),
    422: ("invalid_request", "Invalid parameter"),
    500: ("internal_error", "Internal server error"),
}


def type_of(code: str) -> str:
    return f"urn:imgsvc:problem:{code.replace('_', '-')}"


_CODES = {"refused", *(kind.code for kind in STATUSES), *(code for code, _ in TITLES.values())}
TYPES: list[JsonValue] = [type_of(code) for code in sorted(_CODES)]


class ProblemError(BaseModel):
    """One problem with a request."""

    row: int | None = Field(
        None,
        description="The line of the file or, for JSON, the number of the product; 1 is the first.",
        examples=[3],
    )
    column: str | None = Field(
        None, description="The header of the column, or the name of the field.", examples=["Input Image Urls"]
    )
    code: str = Field(examples=["invalid_url"])
    value: str | None = Field(None, description="The invalid value.", examples=["htp:/shop.example/a.jpg"])
    detail: str = Field(examples=["The URL must begin with http:// or https://."])


class ProblemDetails(BaseModel):
    """An error response (RFC 9457)."""

    type: str = Field(
        description="Stable; docs/problems.md explains each type and what to do about it.",
        examples=["urn:imgsvc:problem:invalid-manifest"],
        json_schema_extra={"enum": TYPES},
    )
    title: str = Field(examples=["Invalid catalogue"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 problem was found; nothing was stored."])
    instance: str = Field(description="The path of the request.", examples=["/v1/batches"])
    request_id: str = Field(
        description="The id of the request, also in the server's log.", examples=["req_01m81syxdvn0cchm7jgbq1vyb2"]
    )
    errors: list[ProblemError] = Field(description="The first 100 problems.")
    errors_total: int = Field(examples=[1])

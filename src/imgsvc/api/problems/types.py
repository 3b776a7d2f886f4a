"""Every type of problem: the HTTP status and title of each error, and the shape in which it is told."""

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
    NotFound,
    NothingToRetry,
    StorageError,
    TooMany,
    Unauthorized,
    UnsupportedMediaType,
)

# error type → (HTTP status, title)
STATUSES: Mapping[type[ImgsvcError], tuple[int, str]] = {
    InvalidManifest: (422, "The catalogue cannot be accepted"),
    InvalidUpload: (422, "A field of the upload cannot be accepted"),
    IdempotencyKeyReused: (422, "The Idempotency-Key belongs to another upload"),
    LimitExceeded: (422, "The upload is over a limit"),
    Unauthorized: (401, "An API key is needed"),
    CrossOriginRefused: (403, "Not for pages of others"),
    TooMany: (429, "Too much at one time"),
    UnsupportedMediaType: (415, "The body has an unsupported media type"),
    NotFound: (404, "Not found"),
    BatchNotFinished: (409, "The batch is not finished"),
    BatchFinished: (409, "The batch has ended"),
    NothingToRetry: (409, "There is nothing to retry"),
    DatabaseUnavailable: (503, "The database is away"),
    StorageError: (503, "The storage is away"),
}

TITLES = {
    400: ("malformed_request", "The request cannot be read"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "The method is not allowed here"),
    413: ("upload_too_large", "The upload is too large"),
    422: ("invalid_request", "A parameter cannot be accepted"),
    500: ("internal_error", "Something went wrong on our side"),
}


def type_of(code: str) -> str:
    return f"urn:imgsvc:problem:{code.replace('_', '-')}"


_CODES = {"refused", *(kind.code for kind in STATUSES), *(code for code, _ in TITLES.values())}
TYPES: list[JsonValue] = [type_of(code) for code in sorted(_CODES)]


class ProblemError(BaseModel):
    """One thing wrong with a request."""

    row: int | None = Field(
        None, description="Line of the file, or number of the product in JSON; 1 is the first.", examples=[3]
    )
    column: str | None = Field(None, description="Header cell or field name.", examples=["Input Image Urls"])
    code: str = Field(examples=["invalid_url"])
    value: str | None = Field(None, description="What was found there.", examples=["htp:/shop.example/a.jpg"])
    detail: str = Field(examples=["A web address begins with http:// or https://."])


class ProblemDetails(BaseModel):
    """A refusal as RFC 9457 describes it."""

    type: str = Field(
        description="Stable; docs/problems.md says what each means and what to do.",
        examples=["urn:imgsvc:problem:invalid-manifest"],
        json_schema_extra={"enum": TYPES},
    )
    title: str = Field(examples=["The catalogue cannot be accepted"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 problem was found; nothing was stored."])
    instance: str = Field(description="The path of the request.", examples=["/v1/batches"])
    request_id: str = Field(description="Stands in the server's log too.", examples=["req_01m81syxdvn0cchm7jgbq1vyb2"])
    errors: list[ProblemError] = Field(description="At most 100 of them.")
    errors_total: int = Field(examples=[1])

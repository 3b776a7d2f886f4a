"""The parts of the OpenAPI document that routes do not define: the introduction, the problem schema, the webhook."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from pydantic import BaseModel, Field

from imgsvc.api.openapi.examples import EXAMPLE_EVENT_ID, EXAMPLE_ID
from imgsvc.api.problems.types import ProblemDetails, ProblemError
from imgsvc.api.schemas.batches import Bytes, ChangesOut, Counts
from imgsvc.domain.status import BatchStatus

DESCRIPTION = """\
Upload a CSV of products and image URLs. Every image is fetched, compressed and stored; you get the same CSV back with
an `Output Image Urls` column, and a signed webhook notifies you when the batch is finished.

**Try it:** open *Upload a CSV* below and press *Execute*. Copy the `id` from the response into *Get a batch*; when the
status is `completed`, copy it into *Download output.csv*. To upload a file, choose `multipart/form-data`; here is
[a sample CSV](/docs/catalog.csv). If you have an API key, press *Authorize* first.

Every error response is `application/problem+json` (RFC 9457) and lists all problems found. Every response has an
`X-Request-ID`, yours or a new one, which is also in the server's log.
"""

TAGS = [
    {"name": "Batches", "description": "A batch is one accepted CSV. Upload it and follow its progress."},
    {"name": "Results", "description": "The CSV with its new column, the rows that failed, and all images."},
    {"name": "Changes", "description": "Cancel, retry and delete batches."},
    {"name": "Webhooks", "description": "The events sent to your endpoint, and its responses."},
    {"name": "Images", "description": "The compressed images that the output CSV links to."},
    {"name": "Operations", "description": "For operators of the service."},
]


_ACKNOWLEDGED = {"2XX": {"description": "Received; after any other status the event is sent again"}}


class EventData(BaseModel):
    """The batch that has ended."""

    id: str = Field(examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    status: BatchStatus
    counts: Counts
    bytes: Bytes
    errors_by_code: dict[str, int]
    catalogue: str | None = Field(None, description="Only if the batch is a version of a catalogue.")
    changes: ChangesOut | None = Field(None, description="Only with `catalogue`; null if the batch was cancelled.")
    output_csv_url: str = Field(description="A signed link, valid for a week without an API key.")
    failures_csv_url: str = Field(description="A signed link, valid for a week without an API key.")
    changes_csv_url: str | None = Field(None, description="Only with `changes`: a signed link to the changed rows.")
    metadata: dict[str, str]


class BatchEvent(BaseModel):
    """The event that a batch has ended."""

    type: Literal["batch.completed", "batch.completed_with_errors", "batch.failed", "batch.cancelled"]
    timestamp: datetime = Field(description="When the batch ended.")
    data: EventData


def complete_openapi(app: FastAPI) -> None:
    """Add the parts that routes cannot define, and remove FastAPI's own 422: ours is a problem."""

    @app.webhooks.post(
        "batch.ended",
        summary="A batch has ended",
        operation_id="batch_ended",
        tags=["Batches"],
    )
    def batch_ended(
        body: BatchEvent,
        webhook_id: Annotated[str, Header(description="The same at every attempt; ignore ids you have already seen.")],
        webhook_timestamp: Annotated[int, Header(description="When this attempt was made, in seconds since 1970.")],
        webhook_signature: Annotated[str, Header(description="`v1,` followed by the HMAC-SHA256 in Base64.")],
    ) -> None:
        """Sent as a POST to the batch's `webhook_url`, and repeated for over three days until you answer with a 2xx.

        The event is signed (Standard Webhooks 1.0.0), and any library for that standard can verify it;
        `imgsvc keys secret` prints the secret.
        """

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document["components"]["schemas"]
            for model in (ProblemError, ProblemDetails):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schema.pop("$defs", None)
                schemas[model.__name__] = schema
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for event in document["webhooks"].values():
                event["post"]["responses"] = _ACKNOWLEDGED
            for path, operation in _operations(document):
                _clean_up(path, operation)
            _restore_examples(app, document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _restore_examples(app: FastAPI, document: dict[str, Any]) -> None:
    """Restore the nulls that FastAPI removes from examples, where null and absent mean different things."""
    by_id = {operation["operationId"]: operation for _, operation in _operations(document)}
    for route in app.state.routes:
        for status, response in route.responses.items():
            for media_type, content in response.get("content", {}).items():
                documented = by_id[route.operation_id]["responses"].get(str(status), {}).get("content", {})
                target = documented.get(media_type)
                if target and str(status).startswith("2") and "example" in content:
                    target["example"] = content["example"]


def _clean_up(path: str, operation: dict[str, Any]) -> None:
    """Remove what FastAPI adds and we never send, and give each example of a problem the path of its operation."""
    if "security" in operation:
        operation["security"].append({})  # while no key exists, none is required
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    for parameter in operation.get("parameters", ()):
        kinds = [kind for kind in parameter["schema"].pop("anyOf", ()) if kind != {"type": "null"}]
        parameter["schema"] |= kinds[0] if kinds else {}  # a parameter is absent, never null
    instance = path.format(batch_id=EXAMPLE_ID, delivery_id=EXAMPLE_EVENT_ID, key="none.jpg", extension="xlsx")
    for response in operation["responses"].values():
        for content in response.get("content", {}).values():
            if "instance" in content.get("example", ()):
                content["example"]["instance"] = instance

"""The OpenAPI document beyond what the routes say: the introduction, the problem schema, the webhook."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from pydantic import BaseModel, Field

from imgsvc.api.openapi.examples import EXAMPLE_EVENT_ID, EXAMPLE_ID
from imgsvc.api.problems.types import ProblemDetails, ProblemError
from imgsvc.api.schemas.batches import Bytes, Counts
from imgsvc.domain.status import BatchStatus

DESCRIPTION = """\
Upload a CSV of products and image URLs; every image is fetched, compressed and stored; the same CSV comes back with an
`Output Image Urls` column, and a signed webhook tells when it is done.

**Try it:** open *Upload a CSV* below, press *Execute*, copy the `id` of the answer into *Follow a batch*, and when it
is `completed`, into *Take the CSV back*. To upload a file, choose `multipart/form-data`; here is
[a sample CSV](/docs/catalog.csv). With an API key, press *Authorize* first.

Every refusal is `application/problem+json` (RFC 9457) with all problems found. Every answer has an `X-Request-ID`, the
one you sent or a new one; it stands in the server's log too.
"""

TAGS = [
    {"name": "Batches", "description": "A batch is one accepted CSV: upload it, follow it, see what became of it."},
    {"name": "Results", "description": "What comes back: the CSV with its new column, what failed, all images."},
    {"name": "Changes", "description": "Give up, try again, remove."},
    {"name": "Webhooks", "description": "What was announced to whom, and what came back."},
    {"name": "Images", "description": "The compressed images, as the output CSV links them."},
    {"name": "Operations", "description": "For whoever runs the service."},
]


_ACKNOWLEDGED = {"2XX": {"description": "You have it; with any other status it comes again"}}


class EventData(BaseModel):
    """The batch that has ended."""

    id: str = Field(examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    status: BatchStatus
    counts: Counts
    bytes: Bytes
    errors_by_code: dict[str, int]
    output_csv_url: str = Field(description="Signed: it opens for a week without an API key.")
    failures_csv_url: str = Field(description="Signed too.")
    metadata: dict[str, str]


class BatchEvent(BaseModel):
    """Tells that a batch has ended."""

    type: Literal["batch.completed", "batch.completed_with_errors", "batch.failed", "batch.cancelled"]
    timestamp: datetime = Field(description="When the batch ended.")
    data: EventData


def complete_openapi(app: FastAPI) -> None:
    """Add what the routes cannot say, and keep FastAPI's own 422 out: ours is a problem."""

    @app.webhooks.post(
        "batch.ended",
        summary="A batch has ended",
        operation_id="batch_ended",
        tags=["Batches"],
    )
    def batch_ended(
        body: BatchEvent,
        webhook_id: Annotated[str, Header(description="The same at every attempt: drop what you have seen.")],
        webhook_timestamp: Annotated[int, Header(description="When this attempt was made, in seconds since 1970.")],
        webhook_signature: Annotated[str, Header(description="`v1,` and the HMAC-SHA256 in base 64.")],
    ) -> None:
        """POSTed to the batch's `webhook_url`, again and again for up to four days until you answer with a 2xx.

        Signed as Standard Webhooks 1.0.0 says, so any of its libraries verifies it; `imgsvc keys secret` prints the
        secret.
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
    """FastAPI leaves out every null, also of examples, where a member that is null is not one that is absent."""
    by_id = {operation["operationId"]: operation for _, operation in _operations(document)}
    for route in app.state.routes:
        for status, response in route.responses.items():
            for media_type, content in response.get("content", {}).items():
                shown = by_id[route.operation_id]["responses"].get(str(status), {}).get("content", {}).get(media_type)
                if shown and str(status).startswith("2") and "example" in content:
                    shown["example"] = content["example"]


def _clean_up(path: str, operation: dict[str, Any]) -> None:
    """Leave out what FastAPI adds and we never send, and let each example refusal name its own path."""
    if "security" in operation:
        operation["security"].append({})  # while no key has been made, none is needed
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    for parameter in operation.get("parameters", ()):
        kinds = [kind for kind in parameter["schema"].pop("anyOf", ()) if kind != {"type": "null"}]
        parameter["schema"] |= kinds[0] if kinds else {}  # a parameter is absent, never null
    instance = path.format(batch_id=EXAMPLE_ID, delivery_id=EXAMPLE_EVENT_ID, key="none.jpg")
    for response in operation["responses"].values():
        for content in response.get("content", {}).values():
            if "instance" in content.get("example", ()):
                content["example"]["instance"] = instance

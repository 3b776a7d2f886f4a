"""Batches: upload a CSV, follow it."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from imgsvc.api.dependencies import BatchId, Budget, Caller, Open, Watch
from imgsvc.api.etags import is_known
from imgsvc.api.openapi.examples import ACCEPTED, BATCH, VALIDATION, example
from imgsvc.api.problems.documented import RATE_HEADERS, documented, refused_parameter, refused_upload
from imgsvc.api.schemas.batches import BatchOut, batch_out
from imgsvc.api.schemas.validation import ValidationOut, validation_out
from imgsvc.api.uploads.form import UPLOAD_OPENAPI
from imgsvc.api.uploads.json_body import JSON_TYPE
from imgsvc.api.uploads.read import read_upload
from imgsvc.bootstrap import manifest_limits
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.services.batches.progress import time_left
from imgsvc.services.batches.read import read_batch
from imgsvc.services.intake.quotas import admit_upload
from imgsvc.services.intake.submit import submit, validate

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

POLL_AFTER = 2
"""Seconds after which a batch that has just begun is worth another look."""
MAX_POLL = 30
_LOCATION = {
    "Location": {"description": "Where to follow the batch.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when the same upload had made this batch before, else absent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    **RATE_HEADERS,
}
_FRESHNESS = {
    "ETag": {"description": "Changes with the batch.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": f"Seconds to the expected end while the batch runs, {MAX_POLL} at most; {POLL_AFTER} where "
        "that is not known, as at the beginning and after a retry. Absent when it has ended.",
        "schema": {"type": "integer"},
    },
}


@router.post(
    "",
    status_code=202,
    summary="Upload a CSV",
    operation_id="create_batch",
    response_description="The batch is stored and its images are being fetched",
    responses={
        200: {
            "model": ValidationOut,
            "description": "With `validate_only`: what is in the upload",
            "headers": RATE_HEADERS,
            **example(VALIDATION),
        },
        202: {"headers": _LOCATION, **example(ACCEPTED)},
        **documented(400, 413, 415, 429, 503),
        **refused_upload(),
    },
    openapi_extra=UPLOAD_OPENAPI,
    response_model=BatchOut,
)
async def create_batch(
    caller: Caller,
    request: Request,
    response: Response,
    resources: Open,
    budget: Budget,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="A name of yours for this upload, such as a UUID: within 24 hours it makes one batch.",
        ),
    ] = None,
) -> BatchOut | Response:
    """Check the CSV, store it as a batch, and start fetching and compressing its images.

    Send the file as `multipart/form-data` with the fields beside it, the CSV itself as `text/csv` with the fields
    in the query string, or products as `application/json` with the fields as members beside them. The answer comes at
    once; follow `Location` for the progress. When anything is wrong with the CSV, **every** problem is listed and
    nothing is stored. A field has the same name and meaning everywhere.

    With `validate_only=true` nothing is stored either way, and the answer (200) says what was found.

    With an `Idempotency-Key` an upload is safe to repeat when no answer came: it gives the same batch, with
    `Idempotent-Replayed: true`.

    **Columns**: a serial number, a product name, and image URLs (several in one cell, separated by commas). Usual
    spellings of the headers are understood; other columns are kept and returned.
    """
    rate = await admit_upload(caller, limits=resources.key_limits, rates=resources.rates)
    response.headers.update(rate.headers if rate else {})
    networks = resources.settings.allowed_networks
    async with read_upload(
        request, budget=budget, api_key_id=caller, idempotency_key=idempotency_key, allowed_networks=networks
    ) as upload:
        if upload.validate_only:
            found = await validate(upload, limits=manifest_limits(resources.settings))
            headers = rate.headers if rate else {}
            return Response(validation_out(found).model_dump_json(), media_type=JSON_TYPE, headers=dict(headers))
        accepted = await submit(
            upload,
            api_key_id=caller,
            sessions=resources.sessions,
            queue=resources.queue,
            retention=resources.retention,
            clock=resources.clock,
            limits=manifest_limits(resources.settings),
            quota=resources.key_limits,
        )
    response.headers["Location"] = f"/v1/batches/{accepted.batch.id}"
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return batch_out(accepted.batch, accepted.delivery, resources.links)


@router.get(
    "/{batch_id}",
    summary="Follow a batch",
    operation_id="get_batch",
    response_description="The batch as it is now",
    responses={
        200: {"headers": _FRESHNESS, **example(BATCH)},
        304: {"description": "Unchanged since `If-None-Match`", "headers": _FRESHNESS},
        **documented(404, 503),
        **refused_parameter("wait", "45", "less_than_equal", "Input should be less than or equal to 30"),
    },
    response_model=BatchOut,
)
async def get_batch(
    caller: Caller,
    batch_id: BatchId,
    response: Response,
    resources: Open,
    watcher: Watch,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the end, or for a change.")] = 0,
    if_none_match: Annotated[str | None, Header(description="The `ETag` you know.")] = None,
) -> BatchOut | Response:
    """The status, the counts and the figures of a batch.

    With `wait` the answer comes when the batch has ended or the time is over; with `wait` and `If-None-Match` also as
    soon as anything has changed. While the batch runs, `Retry-After` says when it is expected to end.
    """
    batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    known = batch.version if is_known(etag(batch, delivery), if_none_match) else None
    if wait and batch.status in OPEN_BATCH and (known or if_none_match is None):
        await watcher.wait(batch_id, known=known, timeout=wait)
        batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    headers = {"ETag": etag(batch, delivery), "Cache-Control": "no-cache"}
    if batch.status in OPEN_BATCH:
        left = time_left(batch, resources.clock())
        headers["Retry-After"] = str(POLL_AFTER if left is None else min(MAX_POLL, max(1, ceil(left))))
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return batch_out(batch, delivery, resources.links)


def etag(batch: Batch, delivery: Delivery | None) -> str:
    """Changes with everything that the batch's answer shows."""
    webhook = f"-{delivery.status}{delivery.attempts}" if delivery else ""
    return f'"{batch.version}{webhook}"'

"""Batches: upload a CSV, get a batch."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from imgsvc.api.dependencies import BatchId, Caller, ResourcesDep, UploadPartsDep, WatcherDep
from imgsvc.api.etags import etag_matches
from imgsvc.api.openapi.examples import ACCEPTED, BATCH, VALIDATION, example
from imgsvc.api.problems.documented import RATE_HEADERS, documented, refused_parameter, refused_upload
from imgsvc.api.schemas.batches import BatchOut, batch_out
from imgsvc.api.schemas.validation import ValidationOut, validation_out
from imgsvc.api.uploads.form import UPLOAD_OPENAPI
from imgsvc.api.uploads.json_body import JSON_TYPE
from imgsvc.api.uploads.read import read_upload
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.services.batches.progress import time_left
from imgsvc.services.batches.read import read_batch
from imgsvc.services.intake.quotas import admit_upload
from imgsvc.services.intake.submit import submit, validate

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

POLL_AFTER = 2
"""Seconds to wait before the next request while the end of a batch cannot be estimated."""
MAX_POLL = 30
_ACCEPTED_HEADERS = {
    "Location": {"description": "The path of the batch.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if an earlier request with the same key created the batch, otherwise absent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    **RATE_HEADERS,
}
_STATE_HEADERS = {
    "ETag": {"description": "Changes whenever the batch changes.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": f"Seconds until the expected end while the batch runs, at most {MAX_POLL}; {POLL_AFTER} while "
        "the end cannot be estimated, as at the start and after a retry. Absent when the batch has ended.",
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
            "description": "With `validate_only`: a summary of the upload",
            "headers": RATE_HEADERS,
            **example(VALIDATION),
        },
        202: {"headers": _ACCEPTED_HEADERS, **example(ACCEPTED)},
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
    resources: ResourcesDep,
    parts: UploadPartsDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="A unique name that you choose for this upload, such as a UUID. Repeated within 24 hours, the "
            "upload creates no second batch.",
        ),
    ] = None,
) -> BatchOut | Response:
    """Check the CSV, store it as a batch, and start to fetch and compress its images.

    Send the CSV as a file in `multipart/form-data` with options as form fields, or the CSV itself as `text/csv` with
    options in the query string, or products as `application/json` with options as further members of the object. The
    options have the same names and meanings everywhere. The response is immediate; poll `Location` for the progress. If
    anything is wrong with the CSV, **every** problem is listed and nothing is stored.

    With `validate_only=true` nothing is stored, and the response (200) is a summary of the upload.

    With an `Idempotency-Key` you can safely repeat an upload whose response was lost: you get the same batch, with
    `Idempotent-Replayed: true`.

    **Columns**: a serial number, a product name, and image URLs (several in one cell, separated by commas). Common
    spellings of the headers are recognised; other columns are kept and returned.

    **Formats**: instead of a CSV, send a workbook (`.xlsx`, `.ods`), tab-separated values, JSON Lines or an XML feed
    (RSS or Atom), also in gzip or ZIP. The bytes decide; as a body, use the file's media type or
    `application/octet-stream`.
    """
    rate = await admit_upload(caller, limits=resources.key_limits, rate_limiter=resources.rate_limiter)
    response.headers.update(rate.headers if rate else {})
    async with read_upload(request, parts, api_key_id=caller, idempotency_key=idempotency_key) as upload:
        if upload.validate_only:
            validation = await validate(upload, limits=parts.limits)
            headers = rate.headers if rate else {}
            return Response(validation_out(validation).model_dump_json(), media_type=JSON_TYPE, headers=dict(headers))
        accepted = await submit(
            upload,
            api_key_id=caller,
            sessions=resources.sessions,
            queue=resources.queue,
            retention=resources.retention,
            clock=resources.clock,
            limits=parts.limits,
            quota=resources.key_limits,
        )
    response.headers["Location"] = f"/v1/batches/{accepted.batch.id}"
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return batch_out(accepted.batch, accepted.delivery, resources.links)


@router.get(
    "/{batch_id}",
    summary="Get a batch",
    operation_id="get_batch",
    response_description="The current state of the batch",
    responses={
        200: {"headers": _STATE_HEADERS, **example(BATCH)},
        304: {"description": "Unchanged since `If-None-Match`", "headers": _STATE_HEADERS},
        **documented(404, 503),
        **refused_parameter("wait", "45", "less_than_equal", "Input should be less than or equal to 30"),
    },
    response_model=BatchOut,
)
async def get_batch(
    caller: Caller,
    batch_id: BatchId,
    response: Response,
    resources: ResourcesDep,
    watcher: WatcherDep,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the end or a change.")] = 0,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an earlier response.")] = None,
) -> BatchOut | Response:
    """Return the status, the counts and the sizes of a batch.

    With `wait`, the response is delayed until the batch has ended or the time is over; with `wait` and `If-None-Match`,
    until anything has changed. While the batch runs, `Retry-After` is the estimated time until its end.
    """
    batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    version = batch.version if etag_matches(etag(batch, delivery), if_none_match) else None
    if wait and batch.status in OPEN_BATCH and (version or if_none_match is None):
        await watcher.wait(batch_id, newer_than=version, timeout=wait)
        batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    headers = {"ETag": etag(batch, delivery), "Cache-Control": "no-cache"}
    if batch.status in OPEN_BATCH:
        seconds = time_left(batch, resources.clock())
        headers["Retry-After"] = str(POLL_AFTER if seconds is None else min(MAX_POLL, max(1, ceil(seconds))))
    if etag_matches(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return batch_out(batch, delivery, resources.links)


def etag(batch: Batch, delivery: Delivery | None) -> str:
    """Return a tag that changes with every part of the batch's response."""
    webhook = f"-{delivery.status}{delivery.attempts}" if delivery else ""
    return f'"{batch.version}{webhook}"'

"""Reports: take the CSV back, or what of it failed."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from imgsvc.api.dependencies import BatchId, Open, Reader
from imgsvc.api.examples import FAILURES_CSV, OUTPUT_CSV
from imgsvc.api.refusals import documented, refused_parameter
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.services import batches, reports

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

Partial = Annotated[bool, Query(description="What is there already, while the batch runs.")]
Safe = Annotated[
    bool,
    Query(description="Put `'` before each cell that a spreadsheet would run as a formula: for opening it in one."),
]
Bom = Annotated[bool, Query(description="Begin with a byte order mark, by which spreadsheets tell UTF-8.")]


def _csv(example: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}, "example": example}},
            "description": description,
        },
        **documented(404, 409, 503),
        **refused_parameter("partial", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    }


@router.get(
    "/{batch_id}/output.csv",
    summary="Take the CSV back",
    operation_id="get_output_csv",
    responses=_csv(OUTPUT_CSV, "The CSV with the new column"),
    response_class=Response,
)
async def get_output_csv(
    batch_id: BatchId,
    caller: Reader,
    resources: Open,
    partial: Partial = False,
    extended: Annotated[
        bool, Query(description="`Status`, `Error`, `Input Bytes` and `Output Bytes` too, one entry for each URL.")
    ] = False,
    safe: Safe = False,
    bom: Bom = False,
) -> StreamingResponse:
    """The CSV as it was uploaded, with `Output Image Urls`: in every row one slot per input URL, empty where it failed.

    UTF-8, with the delimiter of the upload. The webhook's link opens it for a week without an API key.
    """
    batch = await _finished(batch_id, caller, resources, partial=partial)
    wishes = reports.Wishes(extended=extended, safe=safe, bom=bom)
    text = reports.output_csv(batch, wishes, sessions=resources.sessions, links=resources.links)
    return _attached(text, batch, "output")


@router.get(
    "/{batch_id}/failures.csv",
    summary="Take what failed",
    operation_id="get_failures_csv",
    responses=_csv(FAILURES_CSV, "The rows with images that failed"),
    response_class=Response,
)
async def get_failures_csv(
    batch_id: BatchId,
    caller: Reader,
    resources: Open,
    partial: Partial = False,
    safe: Safe = False,
    bom: Bom = False,
) -> StreamingResponse:
    """Only the rows with images that failed or were cancelled, with those URLs alone and an `Error` column.

    Mend the URLs and upload it again: it has the shape of the CSV that you sent.
    """
    batch = await _finished(batch_id, caller, resources, partial=partial)
    text = reports.failures_csv(batch, reports.Wishes(safe=safe, bom=bom), sessions=resources.sessions)
    return _attached(text, batch, "failures")


async def _finished(batch_id: str, caller: str, resources: Resources, *, partial: bool) -> Batch:
    batch, _ = await batches.read(batch_id, api_key_id=caller, sessions=resources.sessions)
    if not partial:
        batches.require_finished(batch)
    return batch


def _attached(text: AsyncIterator[str], batch: Batch, kind: str) -> StreamingResponse:
    return StreamingResponse(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": attachment(batch, kind)}
    )


def attachment(batch: Batch, kind: str) -> str:
    """A Content-Disposition (RFC 6266) after the name of the upload."""
    name = batch.filename or batch.id
    stem = name[:-4] if name.lower().endswith(".csv") else name
    return f"attachment; filename=\"{batch.id}-{kind}.csv\"; filename*=UTF-8''{quote(f'{stem}-{kind}.csv', safe='')}"

"""Reports: take the CSV back."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from imgsvc.api.dependencies import BatchId, Caller, Open
from imgsvc.api.examples import OUTPUT_CSV
from imgsvc.api.refusals import documented, refused_parameter
from imgsvc.db.tables import Batch
from imgsvc.services import batches, reports

router = APIRouter(prefix="/v1/batches", tags=["Batches"])


@router.get(
    "/{batch_id}/output.csv",
    summary="Take the CSV back",
    operation_id="get_output_csv",
    responses={
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}, "example": OUTPUT_CSV}},
            "description": "The CSV with the new column",
        },
        **documented(404, 409, 503),
        **refused_parameter("partial", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    },
    response_class=Response,
)
async def get_output_csv(
    batch_id: BatchId,
    caller: Caller,
    resources: Open,
    partial: Annotated[bool, Query(description="What is there already, while the batch runs.")] = False,
) -> StreamingResponse:
    """The CSV as it was uploaded, with `Output Image Urls`: in every row one slot per input URL, empty where it failed.

    UTF-8, with the delimiter of the upload.
    """
    batch, _ = await batches.read(batch_id, api_key_id=caller, sessions=resources.sessions)
    if not partial:
        batches.require_finished(batch)
    return StreamingResponse(
        reports.output_csv(batch, sessions=resources.sessions, links=resources.links),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": attachment(batch)},
    )


def attachment(batch: Batch) -> str:
    """A Content-Disposition (RFC 6266) after the name of the upload."""
    name = batch.filename or batch.id
    stem = name[:-4] if name.lower().endswith(".csv") else name
    return f"attachment; filename=\"{batch.id}-output.csv\"; filename*=UTF-8''{quote(stem + '-output.csv', safe='')}"

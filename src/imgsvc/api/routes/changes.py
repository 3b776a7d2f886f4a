"""Changes since the version before: the rows of output.csv that are new or changed."""

from fastapi import APIRouter, Response

from imgsvc.api.dependencies import BatchId, ReportReader, ResourcesDep
from imgsvc.api.download_response import DownloadResponse
from imgsvc.api.openapi.text_examples import CHANGES_CSV
from imgsvc.api.problems.documented import refused_parameter, refused_state
from imgsvc.api.routes.results import Bom, Extended, Safe, csv_response, csv_responses, finished_batch
from imgsvc.services.batches.changes import require_changes
from imgsvc.services.batches.read import file_format
from imgsvc.services.results.report import ReportOptions, output_csv

router = APIRouter(prefix="/v1/batches", tags=["Results"])


@router.get(
    "/{batch_id}/changes.csv",
    summary="Download changes.csv",
    operation_id="get_changes_csv",
    responses=csv_responses(CHANGES_CSV, "The rows that are new or changed")
    | refused_state("not-compared", "Batch not compared", "is no version of a catalogue.")
    | refused_parameter("safe", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    response_class=Response,
)
async def get_changes_csv(
    batch_id: BatchId,
    caller: ReportReader,
    resources: ResourcesDep,
    extended: Extended = False,
    safe: Safe = False,
    bom: Bom = False,
) -> DownloadResponse:
    """Return `output.csv` with only the rows that are new or changed since the version before of the same `catalogue`.

    A row is changed if a cell or an address in `output.csv` is another than before. With `extended`, the column
    `Change` says what happened to each row, and the rows that only the version before has are at the end, as `gone`.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=False)
    require_changes(batch)
    options = ReportOptions(extended=extended, safe=safe, bom=bom)
    text = output_csv(batch, options, sessions=resources.sessions, links=resources.links, only_changes=True)
    return csv_response(text, batch, "changes", codec=file_format(batch).codec)

"""What comes back: the CSV, what of it failed, the images in one file."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from imgsvc.api.dependencies import BatchId, Caller, Open, Reader
from imgsvc.api.openapi.text_examples import FAILURES_CSV, OUTPUT_CSV
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.services.batches.read import read_batch, require_finished
from imgsvc.services.results.archive import stream_archive
from imgsvc.services.results.report import ReportOptions, failures_csv, output_csv

router = APIRouter(prefix="/v1/batches", tags=["Results"])

Partial = Annotated[bool, Query(description="What is there already, while the batch runs.")]
Safe = Annotated[
    bool,
    Query(description="Put `'` before each cell that a spreadsheet would run as a formula: for opening it in one."),
]
Bom = Annotated[bool, Query(description="Begin with a byte order mark, by which spreadsheets tell UTF-8.")]


def _csv(example: str, description: str) -> dict[int | str, dict[str, Any]]:
    return _answers(description, "text/csv", {"schema": {"type": "string"}, "example": example})


def _answers(description: str, media_type: str, content: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": {media_type: content}, "description": description},
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
    options = ReportOptions(extended=extended, safe=safe, bom=bom)
    text = output_csv(batch, options, sessions=resources.sessions, links=resources.links)
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
    text = failures_csv(batch, ReportOptions(safe=safe, bom=bom), sessions=resources.sessions)
    return _attached(text, batch, "failures")


@router.get(
    "/{batch_id}/archive.zip",
    summary="Take all images",
    operation_id="get_archive",
    responses=_answers("The images in one ZIP", "application/zip", {"schema": {"type": "string", "format": "binary"}}),
    response_class=Response,
)
async def get_archive(
    batch_id: BatchId, caller: Caller, resources: Open, partial: Partial = False
) -> StreamingResponse:
    """Every compressed image in one ZIP, named as in its link: `0-mountain-print-5d1c0e7a.jpg`.

    It is made while it is sent, so its size is not known beforehand; one that breaks off is not a whole ZIP. An image
    that has been lost from the storage stands in `MISSING.txt`.
    """
    batch = await _finished(batch_id, caller, resources, partial=partial)
    content = await _begun(stream_archive(batch, sessions=resources.sessions, reader=resources.storage))
    headers = {"Content-Disposition": attachment(batch, "images.zip")}
    return StreamingResponse(content, media_type="application/zip", headers=headers)


async def _begun(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same, with its first piece at hand: while none has been sent, a storage that is away can be told by 503."""
    first = await anext(content, b"")

    async def whole() -> AsyncGenerator[bytes, None]:
        async with aclosing(content):
            yield first
            async for piece in content:
                yield piece

    return whole()


async def _finished(batch_id: str, caller: str, resources: Resources, *, partial: bool) -> Batch:
    batch, _ = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    if not partial:
        require_finished(batch)
    return batch


def _attached(text: AsyncIterator[str], batch: Batch, kind: str) -> StreamingResponse:
    return StreamingResponse(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": attachment(batch, f"{kind}.csv")}
    )


def attachment(batch: Batch, ending: str) -> str:
    """A Content-Disposition (RFC 6266) after the name of the upload."""
    name = batch.filename or batch.id
    stem = name[:-4] if name.lower().endswith(".csv") else name
    return f"attachment; filename=\"{batch.id}-{ending}\"; filename*=UTF-8''{quote(f'{stem}-{ending}', safe='')}"

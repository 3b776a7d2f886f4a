"""Results: output.csv and the same in other formats, failures.csv, and all images in one ZIP."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from imgsvc.api.dependencies import BatchId, Caller, ReportFilesDep, ReportReader, ResourcesDep
from imgsvc.api.openapi.text_examples import FAILURES_CSV, OUTPUT_CSV
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.formats.table import BY_NAME, CSV, FORMATS, WRAPPER_EXTENSIONS
from imgsvc.services.batches.read import file_format, read_batch, require_finished
from imgsvc.services.results.archive import stream_archive
from imgsvc.services.results.report import ReportOptions, failures_csv, output_csv
from imgsvc.services.results.report_file import check_rows

router = APIRouter(prefix="/v1/batches", tags=["Results"])

Partial = Annotated[bool, Query(description="Return the results so far while the batch runs.")]
Safe = Annotated[
    bool,
    Query(description="For spreadsheets: put `'` in front of each cell that would run as a formula."),
]
Extended = Annotated[
    bool,
    Query(description="Add `Status`, `Error`, `Input Bytes` and `Output Bytes`, one entry per URL, and `Change`."),
]
Bom = Annotated[bool, Query(description="For spreadsheets: start with a byte order mark, so that they detect UTF-8.")]
_CHARSETS = {"cp1252": "windows-1252", "utf-16-le": "utf-16", "utf-16-be": "utf-16"}
"""The names in HTTP of encodings that Python calls otherwise."""

OTHERS = [kind for kind in FORMATS if kind is not CSV]
OtherFormat = StrEnum("OtherFormat", {kind.name: kind.name for kind in OTHERS})  # type: ignore[misc]  # mypy wants literals


def _report_options(extended: Extended = False, safe: Safe = False, bom: Bom = False) -> ReportOptions:
    return ReportOptions(extended=extended, safe=safe, bom=bom)


def csv_responses(example: str, description: str) -> dict[int | str, dict[str, Any]]:
    return _responses(description, "text/csv", {"schema": {"type": "string"}, "example": example})


def _responses(description: str, media_type: str, content: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": {media_type: content}, "description": description},
        **documented(404, 409, 503),
        **refused_parameter("partial", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    }


@router.get(
    "/{batch_id}/output.csv",
    summary="Download output.csv",
    operation_id="get_output_csv",
    responses=csv_responses(OUTPUT_CSV, "The CSV with the new column"),
    response_class=Response,
)
async def get_output_csv(
    batch_id: BatchId,
    caller: ReportReader,
    resources: ResourcesDep,
    partial: Partial = False,
    extended: Extended = False,
    safe: Safe = False,
    bom: Bom = False,
) -> StreamingResponse:
    """Return the uploaded CSV with the column `Output Image Urls`: one slot per input URL, empty if the image failed.

    The encoding is UTF-8, the delimiter that of the upload. The link in the webhook works for a week without an API
    key.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=partial)
    options = ReportOptions(extended=extended, safe=safe, bom=bom)
    text = output_csv(batch, options, sessions=resources.sessions, links=resources.links)
    return csv_response(text, batch, "output", codec=file_format(batch).codec)


@router.get(
    "/{batch_id}/output.{extension}",
    summary="Download the output in another format",
    operation_id="get_output_file",
    responses={
        200: {
            "content": {kind.media_types[0]: {"schema": {"type": "string", "format": "binary"}} for kind in OTHERS},
            "description": "The upload with the new column, in the format of the path",
        },
        **documented(404, 409, 503),
        **refused_parameter("partial", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    },
    response_class=Response,
)
async def get_output_file(
    batch_id: BatchId,
    caller: ReportReader,
    resources: ResourcesDep,
    files: ReportFilesDep,
    extension: Annotated[OtherFormat, Path(description="The format; `links.output` of the batch has the upload's.")],
    options: Annotated[ReportOptions, Depends(_report_options)],
    partial: Partial = False,
) -> StreamingResponse:
    """Return what `output.csv` contains as a workbook, tab-separated values, JSON Lines or an XML feed.

    Any batch can be downloaded in any format. In a workbook text is text, so that `00123` and `=1+1` stay as they are;
    numbers and dates of an uploaded workbook are numbers and dates again. `safe` and `bom` are for `output.tsv`.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=partial)
    kind = BY_NAME[extension]
    check_rows(batch, kind)
    content = files.stream(batch, kind, options, sessions=resources.sessions, links=resources.links)
    headers = {"Content-Disposition": attachment(batch, f"output.{kind.name}")}
    return StreamingResponse(content, media_type=kind.media_types[0], headers=headers)


@router.get(
    "/{batch_id}/failures.csv",
    summary="Download failures.csv",
    operation_id="get_failures_csv",
    responses=csv_responses(FAILURES_CSV, "The rows with images that failed"),
    response_class=Response,
)
async def get_failures_csv(
    batch_id: BatchId,
    caller: ReportReader,
    resources: ResourcesDep,
    partial: Partial = False,
    safe: Safe = False,
    bom: Bom = False,
) -> StreamingResponse:
    """Return only the rows with failed or cancelled images, with only those URLs and an `Error` column.

    Correct the URLs and upload the file again: it has the columns of the CSV that you sent.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=partial)
    text = failures_csv(batch, ReportOptions(safe=safe, bom=bom), sessions=resources.sessions)
    return csv_response(text, batch, "failures")


@router.get(
    "/{batch_id}/archive.zip",
    summary="Download all images",
    operation_id="get_archive",
    responses=_responses(
        "The images in one ZIP", "application/zip", {"schema": {"type": "string", "format": "binary"}}
    ),
    response_class=Response,
)
async def get_archive(
    batch_id: BatchId, caller: Caller, resources: ResourcesDep, partial: Partial = False
) -> StreamingResponse:
    """Return every compressed image in one ZIP, with the file names of their URLs: `0-mountain-print-5d1c0e7a.jpg`.

    The ZIP is built while it is sent, so its size is not known in advance; an interrupted download is not a valid ZIP.
    Images that are missing from the storage are listed in `MISSING.txt`.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=partial)
    content = await _with_first_chunk(stream_archive(batch, sessions=resources.sessions, reader=resources.storage))
    headers = {"Content-Disposition": attachment(batch, "images.zip")}
    return StreamingResponse(content, media_type="application/zip", headers=headers)


async def _with_first_chunk(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Return `content` once its first chunk is read, so that an unavailable storage can still be answered with 503."""
    first = await anext(content, b"")

    async def chunks() -> AsyncGenerator[bytes, None]:
        async with aclosing(content):
            yield first
            async for chunk in content:
                yield chunk

    return chunks()


async def finished_batch(batch_id: str, caller: str, resources: Resources, *, partial: bool) -> Batch:
    batch, _ = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    if not partial:
        require_finished(batch)
    return batch


def csv_response(text: AsyncIterator[str], batch: Batch, kind: str, *, codec: str = "utf-8") -> StreamingResponse:
    content = (part.encode(codec) async for part in text)
    headers = {"Content-Disposition": attachment(batch, f"{kind}.csv")}
    return StreamingResponse(content, media_type=f"text/csv; charset={_CHARSETS.get(codec, codec)}", headers=headers)


def attachment(batch: Batch, ending: str) -> str:
    """Return a Content-Disposition (RFC 6266) with a file name derived from that of the upload."""
    stem = batch.filename or batch.id
    kind = BY_NAME[file_format(batch).format]
    for extensions in (WRAPPER_EXTENSIONS, kind.extensions[:1] if kind is CSV else kind.extensions):
        stem = next((stem[: -len(each)] for each in extensions if stem.lower().endswith(each)), stem)
    return f"attachment; filename=\"{batch.id}-{ending}\"; filename*=UTF-8''{quote(f'{stem}-{ending}', safe='')}"

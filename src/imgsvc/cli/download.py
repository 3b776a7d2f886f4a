"""`imgsvc download`: write the results of a batch to files."""

from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.connection import ApiKey, BatchId, RetryNotice, Url, check_writable, connect
from imgsvc.cli.console import print_line

Output = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, callback=check_writable, help="File for the result: .csv, .xlsx, .ods, .tsv, .jsonl or .xml."
    ),
]
Changes = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, callback=check_writable, help="CSV for the rows that changed since the version before."
    ),
]
Archive = Annotated[
    Path | None, typer.Option(dir_okay=False, callback=check_writable, help="File for a ZIP of all images.")
]


def download(  # noqa: PLR0913  # each is an option
    batch_id: BatchId,
    *,
    output: Output = None,
    changes: Changes = None,
    archive: Archive = None,
    partial: Annotated[bool, typer.Option("--partial", help="The results so far, while the batch runs.")] = False,
    extended: Annotated[bool, typer.Option("--extended", help="Add statuses, errors and sizes to the CSV.")] = False,
    safe: Annotated[
        bool, typer.Option("--safe", help="Escape CSV cells that a spreadsheet would run as formulas.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin the CSV with a byte order mark, for spreadsheets.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Download the CSV of a batch, the rows of it that changed, its images, or all of them.

    Exit codes: 0 success; 1 the batch has not ended, or the server does not respond; 2 the command is invalid.
    """
    if not output and not changes and not archive:
        raise typer.BadParameter(
            "give --output for the CSV, --changes for its changed rows or --archive for the images."
        )
    with connect(url, api_key, on_retry=RetryNotice()) as client:
        if output:
            client.download_output(batch_id, output, extended=extended, safe=safe, bom=bom, partial=partial)
            print_line(f"Result: {output}")
        if changes:
            client.download_changes(batch_id, changes, extended=extended, safe=safe, bom=bom)
            print_line(f"Changes: {changes}")
        if archive:
            client.download_archive(batch_id, archive, partial=partial)
            print_line(f"Images: {archive}")

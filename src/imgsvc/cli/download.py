"""`imgsvc download`: the results of a batch to files."""

from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.console import say
from imgsvc.cli.server import ApiKey, BatchId, Url, Waiting, server, writable

Output = Annotated[
    Path | None, typer.Option(dir_okay=False, callback=writable, help="Where to write the CSV with the new column.")
]
Archive = Annotated[
    Path | None, typer.Option(dir_okay=False, callback=writable, help="Where to write a ZIP of all images.")
]


def download(  # noqa: PLR0913  # each is an option
    batch_id: BatchId,
    *,
    output: Output = None,
    archive: Archive = None,
    partial: Annotated[bool, typer.Option("--partial", help="What is there already, while the batch runs.")] = False,
    extended: Annotated[bool, typer.Option("--extended", help="In the CSV: statuses, errors and sizes.")] = False,
    safe: Annotated[
        bool, typer.Option("--safe", help="In the CSV: cells that a spreadsheet would run, disarmed.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="In the CSV: a byte order mark, for spreadsheets.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Take the CSV of a batch, its images, or both.

    Ends with 0 when they are there; 1 when the batch has not ended or nobody answers; 2 when the command is wrong.
    """
    if not output and not archive:
        raise typer.BadParameter("say where to write: --output for the CSV, --archive for the images.")
    with server(url, api_key, waiting=Waiting()) as client:
        if output:
            client.download_output(batch_id, output, extended=extended, safe=safe, bom=bom, partial=partial)
            say(f"CSV: {output}")
        if archive:
            client.download_archive(batch_id, archive, partial=partial)
            say(f"Images: {archive}")

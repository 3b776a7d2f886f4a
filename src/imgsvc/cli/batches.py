"""`imgsvc status`, `list`, `retry`, `cancel`: show, retry and cancel batches."""

from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgsvc.cli.connection import ApiKey, AsJson, BatchId, Url, connect
from imgsvc.cli.console import console, print_json, print_line
from imgsvc.client import Batch
from imgsvc.terminal.formatting import printable
from imgsvc.terminal.progress import summary


def status(batch_id: BatchId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show the progress of a batch.

    Exit codes: 0 even if images failed; 1 there is no such batch, or the server does not respond.
    """
    with connect(url, api_key, as_json=as_json) as client:
        batch = client.batch(batch_id)
    if as_json:
        print_json(batch)
        return
    print_line(summary(batch))
    if batch.has_ended:
        print_line(f"CSV: {batch.links.output_csv}")


def list_batches(
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Only batches with this status; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of batches.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List your batches, newest first."""
    with connect(url, api_key, as_json=as_json) as client:
        batches = list(islice(client.batches(status=status), limit))
    if as_json:
        print_json(batches)
    elif batches:
        console.print(_table(batches), highlight=False)
    else:
        print_line("There are no batches." if not status else "There are no batches with this status.")


def retry(
    batch_id: BatchId,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only images that failed with this code; repeatable."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Retry the images of a batch that failed.

    Exit codes: 0 the batch runs again; 1 the request was refused (no image failed, for example), or the server does
    not respond.
    """
    with connect(url, api_key, as_json=as_json) as client:
        _show(client.retry(batch_id, code or ()), as_json=as_json)


def cancel(batch_id: BatchId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Cancel the unfinished images of a batch; finished ones are kept.

    Exit codes: 0 the batch is cancelled; 1 the request was refused (the batch has ended, for example), or the server
    does not respond.
    """
    with connect(url, api_key, as_json=as_json) as client:
        _show(client.cancel(batch_id), as_json=as_json)


def _show(batch: Batch, *, as_json: bool) -> None:
    if as_json:
        print_json(batch)
    else:
        print_line(summary(batch))


def _table(batches: list[Batch]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Batch", no_wrap=True)
    for heading in ("Created", "File", "Status"):
        table.add_column(heading, overflow="fold")
    for heading in ("Done", "Images", "Failed"):
        table.add_column(heading, justify="right")
    for batch in batches:
        assets = batch.counts.assets
        table.add_row(
            *(batch.id, f"{batch.created_at.astimezone():%Y-%m-%d %H:%M}"),
            *(Text(printable(batch.manifest.filename or "")), batch.status),
            *(str(assets.ended), str(assets.total), Text(str(assets.failed), style="red" if assets.failed else "")),
        )
    return table

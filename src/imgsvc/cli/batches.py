"""`imgsvc status`, `list`, `retry`, `cancel`: look at batches, and decide about them."""

from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgsvc.cli.console import console, say, say_json
from imgsvc.cli.server import ApiKey, AsJson, BatchId, Url, server
from imgsvc.client import Batch
from imgsvc.terminal.formatting import printable
from imgsvc.terminal.progress import summary


def status(batch_id: BatchId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Say how far a batch is.

    Ends with 0 whatever became of its images; 1 when there is no such batch or nobody answers.
    """
    with server(url, api_key, as_json=as_json) as client:
        batch = client.batch(batch_id)
    if as_json:
        say_json(batch)
        return
    say(summary(batch))
    if batch.has_ended:
        say(f"CSV: {batch.links.output_csv}")


def list_batches(
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Only these; may be given several times.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List your batches, the newest first."""
    with server(url, api_key, as_json=as_json) as client:
        batches = list(islice(client.batches(status=status), limit))
    if as_json:
        say_json(batches)
    elif batches:
        console.print(_table(batches), highlight=False)
    else:
        say("There are no batches." if not status else "There are no such batches.")


def retry(
    batch_id: BatchId,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only what failed for this cause; may be given several times."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Fetch the images that failed once more.

    Ends with 0 when the batch runs again; 1 when it was refused (nothing to retry, say) or nobody answers.
    """
    with server(url, api_key, as_json=as_json) as client:
        _show(client.retry(batch_id, code or ()), as_json=as_json)


def cancel(batch_id: BatchId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Give up what a batch has not done yet; what is done stays.

    Ends with 0 when it is cancelled; 1 when it was refused (it has ended, say) or nobody answers.
    """
    with server(url, api_key, as_json=as_json) as client:
        _show(client.cancel(batch_id), as_json=as_json)


def _show(batch: Batch, *, as_json: bool) -> None:
    if as_json:
        say_json(batch)
    else:
        say(summary(batch))


def _table(batches: list[Batch]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Batch", no_wrap=True)
    for heading in ("Made", "File", "Status"):
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

"""`imgsvc submit` and `imgsvc status`: use a running imgsvc from a terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import stamina.instrumentation
import typer

from imgsvc.cli.console import FAILED, client_settings, complain, console, in_words, read_settings, say
from imgsvc.client import Batch, Client, ClientError, Refused
from imgsvc.folder import running_in
from imgsvc.progress import follow_on, summary

NOT_ALL_SUCCEEDED = 3
_MOST_PROBLEMS = 10

Url = Annotated[str | None, typer.Option(help="The imgsvc to talk to (IMGSVC_URL).  [default: the one running here]")]
ApiKey = Annotated[str | None, typer.Option(help="API key, if the server wants one (IMGSVC_API_KEY).")]
Csv = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE", help="The CSV.")]


def _writable(path: Path | None) -> Path | None:
    """Said before an hour of work, not after it."""
    if path and str(path) == "-":
        raise typer.BadParameter("the output needs a file of its own.")
    if path and not os.access(path if path.exists() else path.resolve().parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written to.")
    return path


Output = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=_writable, help="Where to write the CSV with the new column; waits for it."),
]


def submit(  # noqa: PLR0913  # each is an option
    file: Csv,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress until the batch has ended.")] = False,
    output: Output = None,
    quality: Annotated[str | None, typer.Option(metavar="1-95", help="[default: 50]")] = None,
    format: Annotated[  # noqa: A002  # the option's name
        str | None, typer.Option(metavar="original|jpeg|png|webp|avif", help="[default: original]")
    ] = None,
    max_width: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink what is wider.")] = None,
    max_height: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink what is higher.")] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Where JPEG replaces a transparent image.  [default: #ffffff]")
    ] = None,
    keep_metadata: Annotated[
        str | None, typer.Option(metavar="none|copyright|all", help="[default: copyright]")
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="JSON", help="Which column is which, for other CSVs.")] = None,
    on_invalid: Annotated[
        str | None, typer.Option(metavar="reject|skip", help="What to do about invalid URLs.  [default: reject]")
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(metavar="URL", help="Where to POST when it has ended.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="Pairs of your own.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Upload a CSV to a running imgsvc.

    Ends with 0 when it was accepted, or with --wait when every image succeeded; 1 when it was refused or nobody
    answers; 2 when the command is wrong; 3 when some image failed.
    """
    fields = {
        "quality": quality,
        "format": format,
        "max_width": max_width,
        "max_height": max_height,
        "background": background,
        "keep_metadata": keep_metadata,
        "columns": columns,
        "on_invalid": on_invalid,
        "webhook_url": webhook_url,
        "metadata": metadata,
    }
    with _server(url, api_key) as client:
        batch = client.submit(file, {name: value for name, value in fields.items() if value is not None})
        if not wait and output is None:
            say(batch.id)
            return
        say(f"Accepted as {batch.id}: {batch.counts.products} products, {batch.counts.assets.total} images.")
        with _goes_on_without_us(batch):
            batch = follow_on(console, client, batch.id)
            say(summary(batch))
            if output:
                client.save_output(batch.id, output)
    say(f"CSV: {output or batch.links.output_csv}")
    if batch.status != "completed":
        raise typer.Exit(NOT_ALL_SUCCEEDED)


def status(
    batch_id: Annotated[str, typer.Argument(metavar="ID", help="The batch, as `submit` printed it.")],
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Say how far a batch is."""
    with _server(url, api_key) as client:
        batch = client.batch(batch_id)
    say(summary(batch))
    if batch.has_ended:
        say(f"CSV: {batch.links.output_csv}")


@contextmanager
def _goes_on_without_us(batch: Batch) -> Iterator[None]:
    try:
        yield
    except (ClientError, OSError, KeyboardInterrupt):
        complain(f"The batch goes on without this command: `imgsvc status {batch.id}`, {batch.links.output_csv}")
        raise


@contextmanager
def _server(url: str | None, api_key: str | None) -> Iterator[Client]:
    """A client for the server that is meant; refusals end the command in words, each problem on its line."""
    stamina.instrumentation.set_on_retry_hooks([])  # the bar says enough while the server is away
    settings = client_settings(url=url, api_key=api_key)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    with in_words(), Client(settings.url or _nearest(), api_key=key) as client:
        try:
            yield client
        except Refused as refusal:
            complain(str(refusal))
            for line in _problems(refusal):
                complain(line)
            raise typer.Exit(FAILED) from None


def _nearest() -> str:
    """The `up` in this folder, or what the settings say."""
    settings = read_settings()
    running = running_in(settings.data_dir)
    return running.url if running else settings.public_base


def _problems(refusal: Refused) -> Iterator[str]:
    """What is wrong with an upload when it is more than the one thing that the sentence above says."""
    problem = refusal.problem
    if problem.errors_total < 2:
        return
    for error in problem.errors[:_MOST_PROBLEMS]:
        line = f"line {error.row}: " if error.row else ""
        value = f" ({error.value})" if error.value else ""
        yield f"  {line}{error.detail}{value}"
    if problem.errors_total > _MOST_PROBLEMS:
        yield f"  … and {problem.errors_total - _MOST_PROBLEMS} more."

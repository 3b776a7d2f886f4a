"""`imgsvc submit` and `imgsvc status`: use a running imgsvc from a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import stamina.instrumentation
import typer

from imgsvc.cli.console import FAILED, complain, console, in_words, read_settings, say
from imgsvc.client import Batch, Client, Refused
from imgsvc.folder import running_in
from imgsvc.progress import follow_on, summary

NOT_ALL_SUCCEEDED = 3
_MOST_PROBLEMS = 10

Url = Annotated[
    str | None,
    typer.Option(envvar="IMGSVC_URL", help="The imgsvc to talk to.  [default: the one running here]"),
]
ApiKey = Annotated[str | None, typer.Option(envvar="IMGSVC_API_KEY", help="API key, if the server wants one.")]
Csv = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE", help="The CSV.")]
Output = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Where to write the CSV with the new column; waits for it.")
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
    columns: Annotated[str | None, typer.Option(metavar="JSON", help="Which column is which, for other CSVs.")] = None,
    on_invalid: Annotated[
        str | None, typer.Option(metavar="reject|skip", help="What to do about invalid URLs.  [default: reject]")
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(metavar="URL", help="Where to POST when it has ended.")] = None,
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
        "columns": columns,
        "on_invalid": on_invalid,
        "webhook_url": webhook_url,
    }
    with _server(url, api_key) as client:
        batch = client.submit(file, {name: value for name, value in fields.items() if value is not None})
        if not wait and output is None:
            say(batch.id)
            return
        say(f"Accepted as {batch.id}: {batch.counts.products} products, {batch.counts.assets.total} images.")
        batch = follow_on(console, client, batch.id)
        _conclude(client, batch, output)


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


def _conclude(client: Client, batch: Batch, output: Path | None) -> None:
    say(summary(batch))
    if output:
        client.save_output(batch.id, output)
        say(f"CSV: {output}")
    else:
        say(f"CSV: {batch.links.output_csv}")
    if batch.status != "completed":
        raise typer.Exit(NOT_ALL_SUCCEEDED)


@contextmanager
def _server(url: str | None, api_key: str | None) -> Iterator[Client]:
    """A client for the server that is meant; refusals end the command in words, each problem on its line."""
    stamina.instrumentation.set_on_retry_hooks([])  # the bar says enough while the server is away
    with in_words(), Client(url or _nearest(), api_key=api_key) as client:
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
    problems = refusal.problem.get("errors", [])
    total = refusal.problem.get("errors_total", len(problems))
    if total < 2:
        return
    for problem in problems[:_MOST_PROBLEMS]:
        line = f"line {problem['row']}: " if problem.get("row") else ""
        value = f" ({problem['value']})" if problem.get("value") else ""
        yield f"  {line}{problem.get('detail')}{value}"
    if total > _MOST_PROBLEMS:
        yield f"  … and {total - _MOST_PROBLEMS} more."

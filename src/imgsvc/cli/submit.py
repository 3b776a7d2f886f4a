"""`imgsvc submit`: upload a CSV, follow it, take the result."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imgsvc.cli.console import complain, console, notes, say, say_json
from imgsvc.cli.server import ApiKey, AsJson, Url, Waiting, server, writable
from imgsvc.client import Batch, ClientError, Fields, Validation
from imgsvc.client.uploads import Format
from imgsvc.terminal.progress import follow_on, summary

NOT_ALL_SUCCEEDED = 3


def _sendable(key: str | None) -> str | None:
    if key is not None and not re.fullmatch("[!-~]{1,255}", key):
        raise typer.BadParameter("1 to 255 ASCII characters without blanks.")
    return key


Csv = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE", help="The CSV.")]
Output = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=writable, help="Where to write the CSV with the new column; waits for it."),
]
Archive = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=writable, help="Where to write a ZIP of all images; waits for it."),
]
Key = Annotated[
    str | None, typer.Option(callback=_sendable, metavar="KEY", help="Within 24 hours it makes one batch, not two.")
]


def submit(  # noqa: PLR0913  # each is an option
    file: Csv,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress until the batch has ended.")] = False,
    output: Output = None,
    archive: Archive = None,
    validate: Annotated[bool, typer.Option("--validate", help="Only check the CSV; nothing is stored.")] = False,
    quality: Annotated[str | None, typer.Option(metavar="1-95", help="[default: 50]")] = None,
    format: Annotated[  # noqa: A002  # the option's name
        str | None, typer.Option(metavar="|".join(get_args(Format)), help="[default: original]")
    ] = None,
    max_width: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink what is wider.")] = None,
    max_height: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink what is higher.")] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Where JPEG replaces a transparent image.  [default: #ffffff]")
    ] = None,
    keep_metadata: Annotated[
        str | None, typer.Option(metavar="none|copyright|all", help="[default: copyright]")
    ] = None,
    renditions: Annotated[
        str | None, typer.Option(metavar="JSON", help='Further ones, as [{"name": "thumb", "max_width": 200}].')
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="JSON", help="Which column is which, for other CSVs.")] = None,
    on_invalid: Annotated[
        str | None, typer.Option(metavar="reject|skip", help="What to do about invalid URLs.  [default: reject]")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Compress anew what was compressed before.")] = False,
    webhook_url: Annotated[str | None, typer.Option(metavar="URL", help="Where to POST when it has ended.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="Pairs of your own.")] = None,
    idempotency_key: Key = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Upload a CSV to a running imgsvc.

    A server that is started again meanwhile is waited for, and the upload stays one batch. With --json progress goes
    to stderr; what is printed is the batch, the validation, or the problem of a refusal.

    Ends with 0 when it was accepted, or when it was waited for and every image succeeded; 1 when it was refused or
    nobody answers; 2 when the command is wrong; 3 when it was waited for and some image failed.
    """
    waits = wait or output is not None or archive is not None
    if validate and waits:
        raise typer.BadParameter("nothing is stored, so there is nothing to wait for.", param_hint="--validate")
    # Texts, as they were typed: the server says what is wrong with them.
    fields = cast(
        "Fields",
        {
            "quality": quality,
            "format": format,
            "max_width": max_width,
            "max_height": max_height,
            "background": background,
            "keep_metadata": keep_metadata,
            "renditions": renditions,
            "columns": columns,
            "on_invalid": on_invalid,
            "refresh": refresh or None,
            "webhook_url": webhook_url,
            "metadata": metadata,
        },
    )
    waiting = Waiting()
    tell = notes if as_json else console
    with server(url, api_key, waiting=waiting, as_json=as_json) as client:
        if validate:
            _show(client.validate(file, **fields), as_json=as_json)
            return
        batch = client.submit(file, idempotency_key=idempotency_key, **fields)
        waiting.has_met = waiting.is_quiet = True  # the bar says enough while the server is away
        if waits:
            say(
                f"Accepted as {batch.id}: {batch.counts.products} products, {batch.counts.assets.total} images.",
                on=tell,
            )
            with _goes_on_without_us(batch):
                batch = follow_on(tell, client, batch)
                say(summary(batch), on=tell)
                if output:
                    client.download_output(batch, output)
                if archive:
                    client.download_archive(batch, archive)
    if as_json:
        say_json(batch)
    elif waits:
        say(f"CSV: {output or batch.links.output_csv}")
        if archive:
            say(f"Images: {archive}")
    else:
        say(batch.id)
    if waits and batch.status != "completed":
        raise typer.Exit(NOT_ALL_SUCCEEDED)


def _show(validation: Validation, *, as_json: bool) -> None:
    if as_json:
        say_json(validation)
        return
    say(f"{validation.products} products, {validation.urls} image URLs, {validation.assets} different images.")
    hosts = ", ".join(f"{host.host} ({host.assets})" for host in validation.hosts)
    say(f"{validation.hosts_total} {'server' if validation.hosts_total == 1 else 'servers'}: {hosts}")
    if validation.invalid_urls:
        say(f"{validation.invalid_urls} invalid URLs would be skipped.")
    for warning in validation.warnings:
        say(f"  {f'line {warning.row}: ' if warning.row else ''}{warning.detail}")
    if validation.warnings_total > len(validation.warnings):
        say(f"  … and {validation.warnings_total - len(validation.warnings)} more.")


@contextmanager
def _goes_on_without_us(batch: Batch) -> Iterator[None]:
    try:
        yield
    except (ClientError, OSError, KeyboardInterrupt):
        complain(f"The batch goes on without this command: `imgsvc status {batch.id}`, {batch.links.output_csv}")
        raise

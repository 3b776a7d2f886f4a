"""`imgsvc submit`: upload a catalogue, show its progress, download the results."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from imgsvc.cli.connection import ApiKey, AsJson, RetryNotice, Url, check_writable, connect
from imgsvc.cli.console import console, print_error, print_json, print_line, stderr
from imgsvc.client import Batch, ClientError, Fields, Validation
from imgsvc.client.uploads import Format
from imgsvc.terminal.progress import show_progress, summary

NOT_ALL_SUCCEEDED = 3


def _check_idempotency_key(key: str | None) -> str | None:
    if key is not None and not re.fullmatch("[!-~]{1,255}", key):
        raise typer.BadParameter("must be 1 to 255 ASCII characters without spaces.")
    return key


Csv = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE", help="The catalogue.")]
Output = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        callback=check_writable,
        help="File for the result: .csv, .xlsx, .ods, .tsv, .jsonl or .xml; implies --wait.",
    ),
]
Archive = Annotated[
    Path | None,
    typer.Option(dir_okay=False, callback=check_writable, help="File for a ZIP of all images; implies --wait."),
]
Key = Annotated[
    str | None,
    typer.Option(
        callback=_check_idempotency_key,
        metavar="KEY",
        help="Uploads with the same key within 24 h create one batch.",
    ),
]


def submit(  # noqa: PLR0913  # each is an option
    file: Csv,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until the batch has ended.")] = False,
    output: Output = None,
    archive: Archive = None,
    validate: Annotated[bool, typer.Option("--validate", help="Only check the file; store nothing.")] = False,
    quality: Annotated[str | None, typer.Option(metavar="1-95", help="[default: 50]")] = None,
    format: Annotated[  # noqa: A002  # the option's name
        str | None, typer.Option(metavar="|".join(get_args(Format)), help="[default: original]")
    ] = None,
    max_width: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink wider images.")] = None,
    max_height: Annotated[str | None, typer.Option(metavar="PIXELS", help="Shrink taller images.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(metavar="contain|cover|pad", help="Scale to --width and --height: inside, cropped, or padded."),
    ] = None,
    width: Annotated[str | None, typer.Option(metavar="PIXELS", help="Width for --fit.")] = None,
    height: Annotated[str | None, typer.Option(metavar="PIXELS", help="Height for --fit.")] = None,
    trim: Annotated[bool, typer.Option("--trim", help="First remove a plain border.")] = False,
    margin: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Free on each side of what --trim left.  [default: 0]")
    ] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="For padding, and transparency in JPEG.  [default: #ffffff]")
    ] = None,
    keep_metadata: Annotated[
        str | None, typer.Option(metavar="none|copyright|all", help="[default: copyright]")
    ] = None,
    renditions: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='More renditions, as [{"name": "thumb", "max_width": 200}].'),
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="JSON", help="Column mapping for other headers.")] = None,
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="Sheet of a workbook.  [default: the first]")
    ] = None,
    on_invalid: Annotated[
        str | None, typer.Option(metavar="reject|skip", help="Handling of invalid URLs.  [default: reject]")
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="Names of the images.  [default: {name}-{n}]")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Return the same file with the new URLs in place of the old ones.")
    ] = False,
    on_failed: Annotated[
        str | None,
        typer.Option(metavar="empty|original|URL", help="In place of a failed image.  [default: empty]"),
    ] = None,
    catalogue: Annotated[str | None, typer.Option(metavar="NAME", help="Find out what changed since its last.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Compress again; do not reuse earlier results.")] = False,
    webhook_url: Annotated[str | None, typer.Option(metavar="URL", help="Called when the batch has ended.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="Your own key-value pairs.")] = None,
    idempotency_key: Key = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Upload a catalogue (CSV, workbook, feed, JSON Lines; also in gzip or ZIP) to a running imgsvc.

    If the server restarts, the command waits for it; the upload creates one batch. With --json, progress is printed to
    stderr and the batch, the validation or the refusal's problem document to stdout.

    Exit codes: 0 the upload was accepted or, with --wait, every image succeeded; 1 it was refused, or the server does
    not respond; 2 the command is invalid; 3 with --wait, some image failed.
    """
    waits = wait or output is not None or archive is not None
    if validate and waits:
        raise typer.BadParameter("cannot be combined with --wait, --output or --archive.", param_hint="--validate")
    # Strings as typed: the server validates them.
    fields = cast(
        "Fields",
        {
            "quality": quality,
            "format": format,
            "max_width": max_width,
            "max_height": max_height,
            "fit": fit,
            "width": width,
            "height": height,
            "trim": trim or None,
            "margin": margin,
            "background": background,
            "keep_metadata": keep_metadata,
            "renditions": renditions,
            "columns": columns,
            "sheet": sheet,
            "on_invalid": on_invalid,
            "names": names,
            "output": "replace" if replace else None,
            "on_failed": on_failed,
            "catalogue": catalogue,
            "refresh": refresh or None,
            "webhook_url": webhook_url,
            "metadata": metadata,
        },
    )
    retry_notice = RetryNotice()
    progress_console = stderr if as_json else console
    with connect(url, api_key, on_retry=retry_notice, as_json=as_json) as client:
        if validate:
            _show(client.validate(file, **fields), as_json=as_json)
            return
        batch = client.submit(file, idempotency_key=idempotency_key, **fields)
        retry_notice.has_connected = retry_notice.is_quiet = True  # the progress bar is enough during an outage
        if waits:
            print_line(
                f"Accepted as {batch.id}: {batch.counts.products} products, {batch.counts.assets.total} images.",
                on=progress_console,
            )
            with _batch_continues_notice(batch):
                batch = show_progress(progress_console, client, batch)
                print_line(summary(batch), on=progress_console)
                if output:
                    client.download_output(batch, output)
                if archive:
                    client.download_archive(batch, archive)
    if as_json:
        print_json(batch)
    elif waits:
        print_line(f"Result: {output or batch.links.output or batch.links.output_csv}")
        if archive:
            print_line(f"Images: {archive}")
    else:
        print_line(batch.id)
    if waits and batch.status != "completed":
        raise typer.Exit(NOT_ALL_SUCCEEDED)


def _show(validation: Validation, *, as_json: bool) -> None:
    if as_json:
        print_json(validation)
        return
    print_line(f"{validation.products} products, {validation.urls} image URLs, {validation.assets} distinct images.")
    hosts = ", ".join(f"{host.host} ({host.assets})" for host in validation.hosts)
    print_line(f"{validation.hosts_total} {'server' if validation.hosts_total == 1 else 'servers'}: {hosts}")
    if validation.invalid_urls:
        print_line(f"{validation.invalid_urls} invalid URLs would be skipped.")
    for warning in validation.warnings:
        print_line(f"  {f'line {warning.row}: ' if warning.row else ''}{warning.detail}")
    if validation.warnings_total > len(validation.warnings):
        print_line(f"  … and {validation.warnings_total - len(validation.warnings)} more.")


@contextmanager
def _batch_continues_notice(batch: Batch) -> Iterator[None]:
    try:
        yield
    except (ClientError, OSError, KeyboardInterrupt):
        print_error(f"The batch continues on the server: `imgsvc status {batch.id}`, {batch.links.output_csv}")
        raise

"""`imgsvc submit`: upload a catalogue, show its progress, download the results."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import typer

from imgsvc.cli import submit_options as options
from imgsvc.cli.connection import ApiKey, AsJson, RetryNotice, Url, connect
from imgsvc.cli.console import console, print_error, print_json, print_line, stderr
from imgsvc.client import Batch, ClientError, Fields, Validation
from imgsvc.terminal.progress import show_progress, summary

NOT_ALL_SUCCEEDED = 3


def submit(  # noqa: PLR0913  # each is an option
    file: options.Catalogue,
    *,
    wait: options.Wait = False,
    output: options.Output = None,
    archive: options.Archive = None,
    validate: options.Validate = False,
    quality: options.Quality = None,
    format: options.OutputFormat = None,  # noqa: A002  # the option's name
    max_width: options.MaxWidth = None,
    max_height: options.MaxHeight = None,
    fit: options.Fit = None,
    width: options.Width = None,
    height: options.Height = None,
    trim: options.Trim = False,
    margin: options.Margin = None,
    background: options.Background = None,
    keep_metadata: options.KeepMetadata = None,
    renditions: options.Renditions = None,
    columns: options.Columns = None,
    sheet: options.Sheet = None,
    on_invalid: options.OnInvalid = None,
    names: options.Names = None,
    replace: options.Replace = False,
    on_failed: options.OnFailed = None,
    catalogue: options.CatalogueName = None,
    refresh: options.Refresh = False,
    webhook_url: options.WebhookUrl = None,
    metadata: options.Metadata = None,
    idempotency_key: options.Key = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Upload a catalogue (CSV, workbook, feed, JSON Lines; also in gzip or ZIP) to a running imgsvc.

    If FILE is a URL, the server fetches it.

    If the server restarts, the command waits for it; the upload creates one batch. With --json, progress is printed to
    stderr and the batch, the validation or the refusal's problem document to stdout.

    Exit codes: 0 the upload was accepted or, with --wait, every image succeeded; 1 it was refused, or the server does
    not respond; 2 the command is invalid; 3 with --wait, some image failed.
    """
    waits = wait or output is not None or archive is not None
    if validate and waits:
        raise typer.BadParameter("cannot be combined with --wait, --output or --archive.", param_hint="--validate")
    is_url = options.is_url(file)
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
            "source_url": file if is_url else None,
            "metadata": metadata,
        },
    )
    source = None if is_url else file
    retry_notice = RetryNotice()
    progress_console = stderr if as_json else console
    with connect(url, api_key, on_retry=retry_notice, as_json=as_json) as client:
        if validate:
            _show(client.validate(source, **fields), as_json=as_json)
            return
        batch = client.submit(source, idempotency_key=idempotency_key, **fields)
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

"""The connection of a client command to a server: its options, retries, and the reporting of refusals."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.console import FAILED, print_error, print_json, print_line, read_settings, report_errors, stderr
from imgsvc.client import Client, ClientError, ConnectionRefused, RequestRefused
from imgsvc.client.files import is_device
from imgsvc.process.data_folder import find_running
from imgsvc.settings.client import ClientSettings

RETRY_TIMEOUT = 60.0
_MAX_PROBLEMS = 10

Url = Annotated[str | None, typer.Option(help="URL of the server (IMGSVC_URL).  [default: the one running here]")]
ApiKey = Annotated[str | None, typer.Option(help="API key, if the server requires one (IMGSVC_API_KEY).")]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="Batch id, as printed by `submit`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def check_writable(path: Path | None) -> Path | None:
    """Refuse an output file that cannot be written before the work begins."""
    if path and str(path) == "-":
        raise typer.BadParameter("the output must be a file.")
    if path and not os.access(path if is_device(path) else path.resolve().parent, os.W_OK):
        raise typer.BadParameter(f"{path} is not writable.")
    return path


class RetryNotice:
    """The client's hook before a retry: it prints one notice, and gives up on a URL that never responded.

    Such a URL is more likely wrong than temporarily down.
    """

    def __init__(self) -> None:
        self.has_connected = False
        self.is_quiet = False

    def __call__(self, error: ClientError, _seconds: float) -> None:
        if isinstance(error, ConnectionRefused) and not self.has_connected:
            raise error
        self.has_connected = True
        if not self.is_quiet:
            print_line(f"{error} Trying again for {RETRY_TIMEOUT:.0f} s.", on=stderr)
            self.is_quiet = True


@contextmanager
def connect(
    url: str | None, api_key: str | None, *, on_retry: RetryNotice | None = None, as_json: bool = False
) -> Iterator[Client]:
    """Open a client for the server; with `on_retry` it retries for `RETRY_TIMEOUT`.

    A refusal ends the command: it prints one line per problem, and the problem document if `as_json`.
    """
    settings = read_settings(ClientSettings, url=url, api_key=api_key)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    retry_timeout = RETRY_TIMEOUT if on_retry else 0
    with (
        report_errors(),
        Client(
            settings.url or _default_url(settings), api_key=key, retry_timeout=retry_timeout, on_wait=on_retry
        ) as client,
    ):
        try:
            yield client
        except RequestRefused as refusal:
            print_error(str(refusal))
            for line in _problems(refusal):
                print_error(line)
            if as_json:
                print_json(refusal.problem)
            raise typer.Exit(FAILED) from None


def _default_url(settings: ClientSettings) -> str:
    """Return the URL of the `up` that runs in this folder, otherwise the URL from the settings."""
    running = find_running(settings.data_dir)
    return running.url if running else settings.public_base


def _problems(refusal: RequestRefused) -> Iterator[str]:
    """Yield a line per problem of an upload; none if there is only one, which the message already names."""
    problem = refusal.problem
    if problem.errors_total < 2:
        return
    for error in problem.errors[:_MAX_PROBLEMS]:
        line = f"line {error.row}: " if error.row else ""
        value = f" ({error.value})" if error.value else ""
        yield f"  {line}{error.detail}{value}"
    if problem.errors_total > _MAX_PROBLEMS:
        yield f"  … and {problem.errors_total - _MAX_PROBLEMS} more."

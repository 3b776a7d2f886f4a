"""The imgsvc that a command talks to: which one it is, and its refusals in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.console import FAILED, complain, in_words, notes, read, say, say_json
from imgsvc.client import Client, ClientError, ConnectionRefused, RequestRefused
from imgsvc.client.files import is_device
from imgsvc.process.data_folder import find_running
from imgsvc.settings.client import ClientSettings

RETRY_TIMEOUT = 60.0
_MAX_PROBLEMS = 10

Url = Annotated[str | None, typer.Option(help="The imgsvc to talk to (IMGSVC_URL).  [default: the one running here]")]
ApiKey = Annotated[str | None, typer.Option(help="API key, if the server wants one (IMGSVC_API_KEY).")]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="The batch, as `submit` printed it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for a program to read.")]


def writable(path: Path | None) -> Path | None:
    """Said before an hour of work, not after it."""
    if path and str(path) == "-":
        raise typer.BadParameter("the output needs a file of its own.")
    if path and not os.access(path if is_device(path) else path.resolve().parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written to.")
    return path


class Waiting:
    """What is said and done before a call is made again: an address where nobody ever was is likelier a wrong one."""

    def __init__(self) -> None:
        self.has_met = False
        self.is_quiet = False

    def __call__(self, error: ClientError, _seconds: float) -> None:
        if isinstance(error, ConnectionRefused) and not self.has_met:
            raise error
        self.has_met = True
        if not self.is_quiet:
            say(f"{error} Trying again for {RETRY_TIMEOUT:.0f} s.", on=notes)
            self.is_quiet = True


@contextmanager
def server(
    url: str | None, api_key: str | None, *, waiting: Waiting | None = None, as_json: bool = False
) -> Iterator[Client]:
    """A client for the server that is meant, patient if there is something to be said while it is.

    Refusals end the command: in words, each problem on its line, and as a document if one is wanted.
    """
    settings = read(ClientSettings, url=url, api_key=api_key)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    retry_timeout = RETRY_TIMEOUT if waiting else 0
    url = settings.url or _nearest(settings)
    with in_words(), Client(url, api_key=key, retry_timeout=retry_timeout, on_wait=waiting) as it:
        try:
            yield it
        except RequestRefused as refusal:
            complain(str(refusal))
            for line in _problems(refusal):
                complain(line)
            if as_json:
                say_json(refusal.problem)
            raise typer.Exit(FAILED) from None


def _nearest(settings: ClientSettings) -> str:
    """The `up` in this folder, or what the settings say."""
    running = find_running(settings.data_dir)
    return running.url if running else settings.public_base


def _problems(refusal: RequestRefused) -> Iterator[str]:
    """What is wrong with an upload when it is more than the one thing that the sentence above says."""
    problem = refusal.problem
    if problem.errors_total < 2:
        return
    for error in problem.errors[:_MAX_PROBLEMS]:
        line = f"line {error.row}: " if error.row else ""
        value = f" ({error.value})" if error.value else ""
        yield f"  {line}{error.detail}{value}"
    if problem.errors_total > _MAX_PROBLEMS:
        yield f"  … and {problem.errors_total - _MAX_PROBLEMS} more."

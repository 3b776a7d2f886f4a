"""What every command does alike: say things, read settings, and end in words instead of a traceback."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from imgsvc.client import ClientError
from imgsvc.config import ClientSettings, Settings
from imgsvc.errors import ImgsvcError
from imgsvc.figures import printable
from imgsvc.logs import configure_logging

console = Console()
errors = Console(stderr=True, style="bold red")

DataDir = Annotated[
    Path | None, typer.Option(help="Folder for database and images (IMGSVC_DATA_DIR).  [default: ./data]")
]

FAILED = 1
WRONG_SETTINGS = 2  # as click's own for wrong options
T = TypeVar("T")
S = TypeVar("S", Settings, ClientSettings)


def read_settings(**given: object) -> Settings:
    """The settings, with the options that were given on the command line; those that are None were not."""
    return _read(Settings, given)


def client_settings(**given: object) -> ClientSettings:
    """The settings of the commands that use a server, with the options that were given."""
    return _read(ClientSettings, given)


def _read(kind: type[S], given: Mapping[str, Any]) -> S:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except UnicodeDecodeError:
        complain("The file .env is not in UTF-8.")
        raise typer.Exit(WRONG_SETTINGS) from None
    except ValidationError as error:
        for problem in error.errors():
            name = f"IMGSVC_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
            complain(name + problem["msg"].removeprefix("Value error, "))
        raise typer.Exit(WRONG_SETTINGS) from None


def settings_of_a_service(**given: object) -> Settings:
    """The settings of a process that logs."""
    settings = read_settings(**given)
    configure_logging(settings.log_level)
    return settings


def say(sentence: str = "") -> None:
    """A line as it is: names and addresses are neither coloured, wrapped nor taken for markup."""
    console.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)


def complain(sentence: str) -> None:
    errors.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)


def run(work: Coroutine[None, None, T]) -> T:
    with in_words():
        return asyncio.run(work)


@contextmanager
def in_words() -> Iterator[None]:
    """What was foreseen ends with a line or a few and exit code 1, not with a traceback."""
    try:
        yield
    except (ImgsvcError, ClientError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except OSError as error:  # a full disk, a file that may not be read or written
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(FAILED) from None

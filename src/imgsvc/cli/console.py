"""Shared by all commands: print lines, read settings, and report errors without a traceback."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings
from rich.console import Console

from imgsvc.client import ClientError
from imgsvc.errors import ImgsvcError
from imgsvc.terminal.formatting import printable

console = Console()
stderr = Console(stderr=True)
error_console = Console(stderr=True, style="bold red")

FAILED = 1
INVALID_SETTINGS = 2  # as click uses for invalid options
S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S], **options: Any) -> S:
    """Read the settings; options given on the command line (those that are not None) take precedence.

    Ends the command with a line per invalid setting.
    """
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except UnicodeDecodeError:
        print_error("The file .env is not in UTF-8.")
        raise typer.Exit(INVALID_SETTINGS) from None
    except ValidationError as error:
        for problem in error.errors():
            name = f"IMGSVC_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
            print_error(name + problem["msg"].removeprefix("Value error, "))
        raise typer.Exit(INVALID_SETTINGS) from None


def print_line(line: str = "", *, on: Console = console) -> None:
    """Print a line verbatim: names and addresses are not coloured, wrapped or interpreted as markup."""
    on.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def print_error(line: str) -> None:
    print_line(line, on=error_console)


def print_json(document: BaseModel | Sequence[BaseModel]) -> None:
    """Print a JSON document for programs, in ASCII: it contains no control characters and survives any encoding."""
    data = (
        document.model_dump(mode="json")
        if isinstance(document, BaseModel)
        else [item.model_dump(mode="json") for item in document]
    )
    typer.echo(json.dumps(data, indent=2))


@contextmanager
def report_errors() -> Iterator[None]:
    """Report expected errors in a few lines and exit with 1, without a traceback."""
    try:
        yield
    except (ImgsvcError, ClientError) as error:
        print_error(str(error))
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:  # the reader closed the pipe
        raise typer.Exit(FAILED) from None
    except OSError as error:  # a full disk, or a file without permission to read or write
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(FAILED) from None

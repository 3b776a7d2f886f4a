"""What every command does alike: say things, read settings, and end in words instead of a traceback."""

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
notes = Console(stderr=True)
errors = Console(stderr=True, style="bold red")

FAILED = 1
WRONG_SETTINGS = 2  # as click's own for wrong options
S = TypeVar("S", bound=BaseSettings)


def read(kind: type[S], **given: Any) -> S:
    """The settings, with the options that were given on the command line; those that are None were not."""
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


def say(sentence: str = "", *, on: Console = console) -> None:
    """A line as it is: names and addresses are neither coloured, wrapped nor taken for markup."""
    on.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)


def complain(sentence: str) -> None:
    say(sentence, on=errors)


def say_json(document: BaseModel | Sequence[BaseModel]) -> None:
    """A document for a program to read, in ASCII: no terminal is steered by it, and no encoding spoils it."""
    plain = (
        document.model_dump(mode="json")
        if isinstance(document, BaseModel)
        else [each.model_dump(mode="json") for each in document]
    )
    typer.echo(json.dumps(plain, indent=2))


@contextmanager
def in_words() -> Iterator[None]:
    """What was foreseen ends with a line or a few and exit code 1, not with a traceback."""
    try:
        yield
    except (ImgsvcError, ClientError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:  # whoever read has enough
        raise typer.Exit(FAILED) from None
    except OSError as error:  # a full disk, a file that may not be read or written
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(FAILED) from None

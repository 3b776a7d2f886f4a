"""The commands that need the server's packages: they are imported when one of them is named, if they are there.

Without them `imgsvc status` starts in a quarter of the time, and works where only the client is installed.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from imgsvc.cli.console import FAILED, complain


class Deferred(NamedTuple):
    """A command that `app` of `module` has, or is; `help` is the first sentence of its own help."""

    name: str
    module: str
    panel: str
    help: str


COMMANDS = (
    Deferred(
        "demo",
        "imgsvc.cli.demo",
        "Use it",
        "Show everything on a sample catalogue: upload, progress, webhook, images before and after.",
    ),
    Deferred(
        "up", "imgsvc.cli.serving", "Run it", "Run everything on this machine: API, workers, database, queue, files."
    ),
    Deferred("api", "imgsvc.cli.api", "Run it", "Run the HTTP API alone."),
    Deferred("worker", "imgsvc.cli.serving", "Run it", "Run worker processes alone, and restart them when they die."),
    Deferred(
        "check",
        "imgsvc.cli.maintenance",
        "Look after it",
        "Examine settings, database, Redis, storage and workers: what works, what does not, and what to do.",
    ),
    Deferred("db", "imgsvc.cli.maintenance", "Look after it", "The database."),
    Deferred("keys", "imgsvc.cli.keys", "Look after it", "API keys and webhook secrets."),
)


def defer(app: typer.Typer) -> None:
    """List the commands in the help of `app`, whose group is a `Group`."""
    for command in COMMANDS:
        app.command(command.name, help=command.help, rich_help_panel=command.panel)(_named_only)


def _named_only() -> None:
    """What stands in the list of commands; `Group` runs the command itself in its place."""


class Group(TyperGroup):
    """Commands, of which some are imported only when they are run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # types of the click that typer brings along
        name, command, rest = super().resolve_command(ctx, args)
        deferred = next((each for each in COMMANDS if each.name == name), None)
        return name, loaded(deferred) if deferred else command, rest


def loaded(deferred: Deferred) -> Any:
    """The command itself.

    Raises:
        Exit: a package of the server is not installed.
    """
    try:
        module = import_module(deferred.module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "imgsvc":
            raise
        packages = "pip install '.[server]' in a clone of the repository"
        complain(f"`imgsvc {deferred.name}` needs the packages of the server: {packages}.")
        raise typer.Exit(FAILED) from None
    command = typer.main.get_command(module.app)
    return getattr(command, "commands", {}).get(deferred.name, command)

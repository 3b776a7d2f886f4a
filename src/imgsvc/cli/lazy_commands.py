"""Commands that need the server's packages; their modules are imported only when the command is run.

Without those imports `imgsvc status` starts in a quarter of the time, and works where only the client is installed.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from imgsvc.cli.console import FAILED, print_error


class LazyCommand(NamedTuple):
    """A command of the app in `module`, or that app itself; `help` is the first sentence of the command's help."""

    name: str
    module: str
    panel: str
    help: str


COMMANDS = (
    LazyCommand(
        "demo",
        "imgsvc.cli.demo",
        "Use",
        "Demonstrate the service with a sample catalogue: upload, progress, webhook, images before and after.",
    ),
    LazyCommand("up", "imgsvc.cli.up", "Run", "Run everything on this machine: API, workers, database, queue, files."),
    LazyCommand("api", "imgsvc.cli.api", "Run", "Run only the HTTP API."),
    LazyCommand("worker", "imgsvc.cli.up", "Run", "Run only worker processes, and restart those that die."),
    LazyCommand(
        "check",
        "imgsvc.cli.maintenance",
        "Maintenance",
        "Check settings, database, Redis, storage and workers, with advice on what does not work.",
    ),
    LazyCommand("db", "imgsvc.cli.maintenance", "Maintenance", "Manage the database."),
    LazyCommand("keys", "imgsvc.cli.keys", "Maintenance", "Manage API keys and webhook secrets."),
)


def add_lazy_commands(app: typer.Typer) -> None:
    """Add the commands to the help of `app`, whose group must be a `Group`."""
    for command in COMMANDS:
        app.command(command.name, help=command.help, rich_help_panel=command.panel)(_placeholder)


def _placeholder() -> None:
    """Represent a command in the list of commands; `Group` runs the real one instead."""


class Group(TyperGroup):
    """A command group that imports some of its commands only when they are run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # the types belong to typer's vendored click
        name, command, rest = super().resolve_command(ctx, args)
        lazy = next((lazy for lazy in COMMANDS if lazy.name == name), None)
        return name, load(lazy) if lazy else command, rest


def load(lazy: LazyCommand) -> Any:
    """Import a command and return it.

    Raises:
        Exit: a package of the server is not installed.
    """
    try:
        module = import_module(lazy.module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "imgsvc":
            raise
        packages = "pip install '.[server]' in a clone of the repository"
        print_error(f"`imgsvc {lazy.name}` needs the packages of the server: {packages}.")
        raise typer.Exit(FAILED) from None
    command = typer.main.get_command(module.app)
    return getattr(command, "commands", {}).get(lazy.name, command)

"""The command line: commands to run the service, to maintain it, and to use it."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from imgsvc import __version__
from imgsvc.cli import batches, checks, download, failures, submit
from imgsvc.cli.lazy_commands import Group, add_lazy_commands

app = typer.Typer(
    cls=Group,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    help="Product catalogues in, compressed images out.",
    epilog="Exit codes: 0 success; 1 the request was refused, the server does not respond, or the command failed; "
    "2 the command or a setting is invalid; 3 `submit` waited and some image failed.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imgsvc {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")]


@app.callback()
def set_up_streams(*, version: Version = False) -> None:  # noqa: ARG001  # its callback prints it
    """Write characters that the terminal or pipe cannot encode (such as → in cp1252) as question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


app.command(rich_help_panel="Use")(submit.submit)
app.command(rich_help_panel="Use")(batches.status)
app.command("list", rich_help_panel="Use")(batches.list_batches)
app.command(rich_help_panel="Use")(failures.failures)
app.command(rich_help_panel="Use")(checks.checks)
app.command(rich_help_panel="Use")(download.download)
app.command(rich_help_panel="Use")(batches.retry)
app.command(rich_help_panel="Use")(batches.cancel)
add_lazy_commands(app)

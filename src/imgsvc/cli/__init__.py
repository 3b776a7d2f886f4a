"""The command line: run the service or parts of it, look after it, and use it."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from imgsvc import __version__
from imgsvc.cli import batches, download, failures, submit
from imgsvc.cli.deferred import Group, defer

app = typer.Typer(
    cls=Group,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    help="Product catalogues in, compressed images out.",
    epilog="Ends with 0 when all went well; 1 when it was refused, nobody answers or something is in the way; 2 when "
    "the command or a setting is wrong; 3 when `submit` waited and some image failed.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imgsvc {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version.")]


@app.callback()
def prepare(*, version: Version = False) -> None:  # noqa: ARG001  # its callback has said it
    """What a terminal or a pipe cannot write (→ in cp1252, say) is written as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


app.command(rich_help_panel="Use it")(submit.submit)
app.command(rich_help_panel="Use it")(batches.status)
app.command("list", rich_help_panel="Use it")(batches.list_batches)
app.command(rich_help_panel="Use it")(failures.failures)
app.command(rich_help_panel="Use it")(download.download)
app.command(rich_help_panel="Use it")(batches.retry)
app.command(rich_help_panel="Use it")(batches.cancel)
defer(app)

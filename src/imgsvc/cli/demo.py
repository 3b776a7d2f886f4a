"""`imgsvc demo`: the whole service shown on a sample catalogue."""

import signal
import sys
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.console import console, in_words
from imgsvc.demo.run import run_demo
from imgsvc.errors import StartupError

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Folder = Annotated[
    Path | None, typer.Option(help="New folder for what comes out.  [default: demo/1, demo/2, … whichever is free]")
]


@app.command()
def demo(folder: Folder = None) -> None:
    """Show everything on a sample catalogue: upload, progress, webhook, images before and after.

    Starts an imgsvc of its own beside whatever runs already, and stops it at the end. It needs no internet.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is stopped too
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with in_words():
        run_demo(console, _made(folder) if folder else _first_free(Path("demo")))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise StartupError(f"{folder} is there already; the demo wants a folder of its own.") from None
    return folder


def _first_free(parent: Path) -> Path:
    """Make the first of 1, 2, … that is not there; two demos at the same moment get two."""
    parent.mkdir(exist_ok=True)
    for number in count(1):
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:
            continue
        break
    return parent / str(number)

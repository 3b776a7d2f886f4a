"""`imgsvc demo`: a demonstration of the whole service with a sample catalogue."""

import signal
import sys
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from imgsvc.cli.console import console, report_errors
from imgsvc.demo.run import run_demo
from imgsvc.errors import StartupError

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Folder = Annotated[
    Path | None, typer.Option(help="New folder for the results.  [default: the first free one of demo/1, demo/2, …]")
]


@app.command()
def demo(folder: Folder = None) -> None:
    """Demonstrate the service with a sample catalogue: upload, progress, webhook, images before and after.

    Starts a separate imgsvc and stops it at the end. Needs no internet.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that the started processes are stopped as well
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with report_errors():
        run_demo(console, _create(folder) if folder else _create_numbered(Path("demo")))


def _create(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise StartupError(f"{folder} already exists; the demo needs a new folder.") from None
    return folder


def _create_numbered(parent: Path) -> Path:
    """Create the first of 1, 2, … that does not exist; two demos at the same moment get different folders."""
    parent.mkdir(exist_ok=True)
    for number in count(1):
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:
            continue
        break
    return parent / str(number)

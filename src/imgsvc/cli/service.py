"""What the commands of the service do alike: read its settings, log, run what awaits."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from imgsvc.cli.console import in_words, read
from imgsvc.logs import configure_logging
from imgsvc.settings.server import Settings

DataDir = Annotated[
    Path | None, typer.Option(help="Folder for database and images (IMGSVC_DATA_DIR).  [default: ./data]")
]
T = TypeVar("T")


def settings_of_a_service(**given: object) -> Settings:
    """The settings of a process that logs."""
    settings = read(Settings, **given)
    configure_logging(settings.log_level)
    return settings


def run(work: Coroutine[None, None, T]) -> T:
    with in_words():
        return asyncio.run(work)

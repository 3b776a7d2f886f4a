"""Shared by the service's commands: read the settings, set up logging, run a coroutine."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from imgsvc.cli.console import read_settings, report_errors
from imgsvc.logs import configure_logging
from imgsvc.settings.server import Settings

DataDir = Annotated[
    Path | None, typer.Option(help="Folder for database and images (IMGSVC_DATA_DIR).  [default: ./data]")
]
T = TypeVar("T")


def read_service_settings(**options: object) -> Settings:
    """Read the settings of a service process and set up its logging."""
    settings = read_settings(Settings, **options)
    configure_logging(settings.log_level)
    return settings


def run(coroutine: Coroutine[None, None, T]) -> T:
    with report_errors():
        return asyncio.run(coroutine)

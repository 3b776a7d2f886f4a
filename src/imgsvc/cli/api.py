"""`imgsvc api`: the HTTP API without workers."""

import asyncio
import gc
import sys

import typer

from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.bootstrap import check_access, check_schema, check_storage
from imgsvc.cli.console import FAILED, report_errors
from imgsvc.cli.listen_options import Descriptor, Host, Port, inherited_listener, port_of
from imgsvc.cli.service_settings import read_service_settings
from imgsvc.process import descriptors
from imgsvc.process.listen_socket import listen

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that reads a CSV yields to the event loop. With Python's default of 5 ms, a status read,
which crosses threads several times, took 42 ms at the median during an upload."""


@app.command()
def api(host: Host = None, port: Port = None, fd: Descriptor = None) -> None:
    """Run only the HTTP API."""
    inherited = inherited_listener(fd)
    settings = read_service_settings(host=host, port=port_of(inherited) or port)
    descriptors.raise_limit()
    with report_errors():
        check_storage(settings)
        asyncio.run(check_schema(settings))
        asyncio.run(check_access(settings))
        listener = inherited or listen(settings.host, settings.port)
    sys.setswitchinterval(SWITCH_INTERVAL)
    server = Server(create_app(settings), drain=settings.drain_timeout * 3 / 4)
    gc.collect()
    gc.freeze()  # each look at all that is loaded stopped the event loop for 0.2 s
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(FAILED)

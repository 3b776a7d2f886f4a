"""`imgsvc api`: the HTTP API alone."""

import asyncio
import sys

import typer

from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.bootstrap import check_access, check_schema, check_storage
from imgsvc.cli.console import FAILED, in_words
from imgsvc.cli.listener import Descriptor, Host, Port, given_listener, port_of
from imgsvc.cli.service import settings_of_a_service
from imgsvc.process import descriptors
from imgsvc.process.listen_socket import listen

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that reads a CSV lets the event loop in: at Python's own 5 ms, a status read, which goes
from thread to thread several times, took 42 ms at the median during an upload."""


@app.command()
def api(host: Host = None, port: Port = None, fd: Descriptor = None) -> None:
    """Run the HTTP API alone."""
    given = given_listener(fd)
    settings = settings_of_a_service(host=host, port=port_of(given) or port)
    descriptors.raise_limit()
    with in_words():
        check_storage(settings)
        asyncio.run(check_schema(settings))
        asyncio.run(check_access(settings))
        listener = given or listen(settings.host, settings.port)
    sys.setswitchinterval(SWITCH_INTERVAL)
    server = Server(create_app(settings), drain=settings.drain_timeout * 3 / 4)
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(FAILED)

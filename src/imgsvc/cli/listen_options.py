"""Options of commands that listen: the address, and a socket inherited from another process."""

import socket
from typing import Annotated

import typer

from imgsvc.cli.console import report_errors
from imgsvc.process.listen_socket import inherited

Host = Annotated[str | None, typer.Option(help="Address to listen on (IMGSVC_HOST).  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (IMGSVC_PORT).  [default: 8000]")]
Descriptor = Annotated[int | None, typer.Option(min=0, hidden=True, help="An inherited socket to listen on.")]


def inherited_listener(descriptor: int | None) -> socket.socket | None:
    with report_errors():
        return None if descriptor is None else inherited(descriptor)


def port_of(listener: socket.socket | None) -> int | None:
    return listener.getsockname()[1] if listener else None

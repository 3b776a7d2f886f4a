"""Where a command listens: the options, and a socket that another process has made."""

import socket
from typing import Annotated

import typer

from imgsvc.cli.console import in_words
from imgsvc.process.listen_socket import inherited

Host = Annotated[str | None, typer.Option(help="Address to listen on (IMGSVC_HOST).  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (IMGSVC_PORT).  [default: 8000]")]
Descriptor = Annotated[int | None, typer.Option(min=0, hidden=True, help="An inherited socket to listen on.")]


def given_listener(descriptor: int | None) -> socket.socket | None:
    with in_words():
        return None if descriptor is None else inherited(descriptor)


def port_of(listener: socket.socket | None) -> int | None:
    return listener.getsockname()[1] if listener else None

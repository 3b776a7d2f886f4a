"""`imgsvc up`, `imgsvc api`, `imgsvc worker`: the commands that run until they are stopped."""

import asyncio
import socket
import sys
from typing import Annotated

import typer
from rich.text import Text

from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.bootstrap import check_access, check_schema, check_storage
from imgsvc.cli.console import FAILED, console, in_words, say
from imgsvc.cli.service import DataDir, run, settings_of_a_service
from imgsvc.config import Settings
from imgsvc.listening import inherited, listen
from imgsvc.supervisor import Supervisor, stop_on_signals
from imgsvc.up import up as run_up
from imgsvc.up import usual_processes, worker_children

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Host = Annotated[str | None, typer.Option(help="Address to listen on (IMGSVC_HOST).  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on (IMGSVC_PORT).  [default: 8000]")]
Descriptor = Annotated[int | None, typer.Option(min=0, hidden=True, help="An inherited socket to listen on.")]
Processes = Annotated[
    int | None, typer.Option(min=1, max=64, help="Worker processes.  [default: one for each core, 4 at most]")
]

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that reads a CSV lets the event loop in: at Python's own 5 ms, a status read, which goes
from thread to thread several times, took 42 ms at the median during an upload."""


@app.command()
def up(
    host: Host = None, port: Port = None, data_dir: DataDir = None, workers: Processes = None, fd: Descriptor = None
) -> None:
    """Run everything on this machine: API, workers, database, queue, files."""
    given = _inherited(fd)
    settings = settings_of_a_service(host=host, port=_port(given) or port, data_dir=data_dir)
    run(run_up(settings, listener=given, workers=workers, on_ready=lambda: _welcome(settings)))


@app.command()
def api(host: Host = None, port: Port = None, fd: Descriptor = None) -> None:
    """Run the HTTP API alone."""
    given = _inherited(fd)
    settings = settings_of_a_service(host=host, port=_port(given) or port)
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


@app.command()
def worker(processes: Processes = None) -> None:
    """Run worker processes alone, and restart them when they die."""
    settings = settings_of_a_service()

    async def supervise() -> None:
        check_storage(settings)
        await check_schema(settings)
        stopping = asyncio.Event()
        stop_on_signals(stopping)
        children = list(worker_children(processes or usual_processes(), settings, {}))
        await Supervisor(children, stopping=stopping, drain=settings.drain_timeout).run()

    run(supervise())


def _inherited(descriptor: int | None) -> socket.socket | None:
    with in_words():
        return None if descriptor is None else inherited(descriptor)


def _port(listener: socket.socket | None) -> int | None:
    return listener.getsockname()[1] if listener else None


def _welcome(settings: Settings) -> None:
    url = f"{settings.local_base}/docs"
    console.print(Text.assemble("\n", ("imgsvc is up.", "bold"), "  Docs and try-out: ", (url, f"link {url}")))
    say(f"Everything lies in {settings.data_dir.resolve()}. Ctrl-C stops it all.\n")

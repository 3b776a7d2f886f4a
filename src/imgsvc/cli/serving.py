"""`imgsvc up`, `imgsvc worker`: processes that run others until they are stopped."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from imgsvc.bootstrap import check_schema, check_storage
from imgsvc.cli.console import console, say
from imgsvc.cli.listener import Descriptor, Host, Port, given_listener, port_of
from imgsvc.cli.service import DataDir, run, settings_of_a_service
from imgsvc.cli.stack import up as run_up
from imgsvc.cli.stack import usual_processes, worker_children
from imgsvc.process import descriptors
from imgsvc.process.supervisor import Supervisor, stop_on_signals
from imgsvc.settings.server import Settings

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Processes = Annotated[
    int | None, typer.Option(min=1, max=64, help="Worker processes.  [default: one for each core, 4 at most]")
]


@app.command()
def up(
    host: Host = None, port: Port = None, data_dir: DataDir = None, workers: Processes = None, fd: Descriptor = None
) -> None:
    """Run everything on this machine: API, workers, database, queue, files."""
    given = given_listener(fd)
    settings = settings_of_a_service(host=host, port=port_of(given) or port, data_dir=data_dir)
    descriptors.raise_limit()
    run(run_up(settings, listener=given, workers=workers, on_ready=lambda: _welcome(settings)))


@app.command()
def worker(processes: Processes = None) -> None:
    """Run worker processes alone, and restart them when they die."""
    settings = settings_of_a_service()
    descriptors.raise_limit()

    async def supervise() -> None:
        check_storage(settings)
        await check_schema(settings)
        stopping = asyncio.Event()
        stop_on_signals(stopping)
        children = list(worker_children(processes or usual_processes(), settings, {}))
        await Supervisor(children, stopping=stopping, drain=settings.drain_timeout).run()

    run(supervise())


def _welcome(settings: Settings) -> None:
    url = f"{settings.local_base}/docs"
    console.print(Text.assemble("\n", ("imgsvc is up.", "bold"), "  Docs and try-out: ", (url, f"link {url}")))
    say(f"Everything lies in {settings.data_dir.resolve()}. Ctrl-C stops it all.\n")

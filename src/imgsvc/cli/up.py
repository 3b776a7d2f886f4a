"""`imgsvc up`, `imgsvc worker`: run and supervise processes until stopped."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from imgsvc.bootstrap import check_schema, check_storage
from imgsvc.cli.console import console, print_line
from imgsvc.cli.listen_options import Descriptor, Host, Port, inherited_listener, port_of
from imgsvc.cli.service_settings import DataDir, read_service_settings, run
from imgsvc.cli.stack import default_processes, run_stack, worker_children
from imgsvc.process import descriptors
from imgsvc.process.supervisor import Supervisor, stop_on_signals
from imgsvc.settings.server import Settings

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Processes = Annotated[
    int | None, typer.Option(min=1, max=64, help="Worker processes.  [default: one per core, at most 4]")
]


@app.command()
def up(
    host: Host = None, port: Port = None, data_dir: DataDir = None, workers: Processes = None, fd: Descriptor = None
) -> None:
    """Run everything on this machine: API, workers, database, queue, files."""
    listener = inherited_listener(fd)
    settings = read_service_settings(host=host, port=port_of(listener) or port, data_dir=data_dir)
    descriptors.raise_limit()
    run(run_stack(settings, listener=listener, workers=workers, on_ready=lambda: _print_welcome(settings)))


@app.command()
def worker(processes: Processes = None) -> None:
    """Run only worker processes, and restart those that die."""
    settings = read_service_settings()
    descriptors.raise_limit()

    async def supervise() -> None:
        check_storage(settings)
        await check_schema(settings)
        stopping = asyncio.Event()
        stop_on_signals(stopping)
        children = list(worker_children(processes or default_processes(), settings, {}))
        await Supervisor(children, stopping=stopping, drain=settings.drain_timeout).run()

    run(supervise())


def _print_welcome(settings: Settings) -> None:
    url = f"{settings.local_base}/docs"
    console.print(Text.assemble("\n", ("imgsvc is up.", "bold"), "  Docs page: ", (url, f"link {url}")))
    print_line(f"All data is in {settings.data_dir.resolve()}. Press Ctrl-C to stop.\n")

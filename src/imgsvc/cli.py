"""The command line: run the service, or parts of it."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console

from imgsvc.api.app import create_app
from imgsvc.bootstrap import check_storage
from imgsvc.config import Settings
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.errors import ImgsvcError
from imgsvc.logs import configure_logging
from imgsvc.services import keys
from imgsvc.supervisor import NotReady, Supervisor, stop_on_signals
from imgsvc.up import CannotStart, upgrade_database, worker_children
from imgsvc.up import up as run_up

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Product catalogues in, compressed images out.")
db = typer.Typer(no_args_is_help=True, help="The database.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys and webhook secrets.")
app.add_typer(db, name="db")
app.add_typer(keys_app, name="keys")

console = Console()
errors = Console(stderr=True, style="bold red")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")]
T = TypeVar("T")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that reads a CSV lets the event loop in: at Python's own 5 ms, a status read, which goes
from thread to thread several times, took 42 ms at the median during an upload."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for database and images.  [default: ./data]")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
) -> None:
    """Run everything on this machine: API, workers, database, queue, files."""
    settings = _settings(**({"data_dir": data_dir} if data_dir else {}))
    _require_loopback(host)
    _run(run_up(settings, host=host, port=port, workers=workers, on_ready=lambda url: _welcome(url, settings)))


@app.command()
def api(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Run the HTTP API alone."""
    settings = _settings()
    _require_loopback(host)
    with _in_words():
        check_storage(settings)
    sys.setswitchinterval(SWITCH_INTERVAL)
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_timeout * 3 / 4) or 1,
    )


@app.command()
def worker(processes: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1) -> None:
    """Run worker processes alone, and restart them when they die."""
    settings = _settings()

    with _in_words():
        check_storage(settings)

    async def supervise() -> None:
        stopping = asyncio.Event()
        stop_on_signals(stopping)
        children = list(worker_children(processes, {}))
        await Supervisor(children, stopping=stopping, drain=settings.drain_timeout).run()

    _run(supervise())


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to the newest schema; safe to repeat."""
    settings = _settings()
    _run(upgrade_database(settings))
    console.print("The database has the newest schema.")


@keys_app.command("secret")
def keys_secret() -> None:
    """Print the secret that webhooks are signed with (whsec_…)."""
    settings = _settings()

    async def read() -> str:
        sessions = open_sessions(settings.database)
        try:
            await migrations.check(sessions)
            return await keys.webhook_secret(sessions=sessions)
        finally:
            await sessions.aclose()

    secret = settings.webhook_secret
    console.print(secret.get_secret_value() if secret else _run(read()), soft_wrap=True)


def _settings(**given: object) -> Settings:
    try:
        settings = Settings(**given)  # type: ignore[arg-type]  # names of settings
    except ValidationError as error:
        for problem in error.errors():
            name = f"IMGSVC_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
            _complain(name + problem["msg"].removeprefix("Value error, "))
        raise typer.Exit(2) from None
    configure_logging(settings.log_level)
    return settings


def _require_loopback(host: str) -> None:
    if host not in LOOPBACK:
        _complain(
            f"Refusing to listen on {host}: there are no API keys yet, so anyone who reaches it could use it. "
            "Listen on 127.0.0.1 and put a proxy that asks for a login in front."
        )
        raise typer.Exit(2)


def _complain(sentence: str) -> None:
    errors.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _run(work: Coroutine[None, None, T]) -> T:
    with _in_words():
        return asyncio.run(work)


@contextmanager
def _in_words() -> Iterator[None]:
    """What was foreseen ends with one line and exit code 1, not with a traceback."""
    try:
        yield
    except (CannotStart, NotReady, ImgsvcError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None


def _welcome(url: str, settings: Settings) -> None:
    console.print(f"\n[bold]imgsvc is up.[/bold]  Docs and try-out: [link={url}/docs]{url}/docs[/link]")
    console.print(f"Everything lies in {settings.data_dir.resolve()}. Ctrl-C stops it all.\n", soft_wrap=True)

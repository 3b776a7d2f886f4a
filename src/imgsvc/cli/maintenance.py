"""`imgsvc check`, `imgsvc db`: maintenance of a service."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgsvc.cli.console import FAILED, console, print_line, read_settings
from imgsvc.cli.service_settings import DataDir, read_service_settings, run
from imgsvc.cli.stack import upgrade_database
from imgsvc.doctor.check import run_checks
from imgsvc.doctor.deep_check import run_deep_checks
from imgsvc.settings.server import Settings
from imgsvc.terminal.formatting import printable

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
db = typer.Typer(no_args_is_help=True, help="Manage the database.")
app.add_typer(db, name="db")


Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help="Also check every row and every stored file: counters, images, webhooks, leftovers. Changes nothing, and "
        "is safe while the service runs.",
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="With --deep: ignore anything younger, which may be in progress (default: IMGSVC_TIDY_AFTER).",
    ),
]


@app.command()
def check(data_dir: DataDir = None, deep: Deep = False, grace: Grace = None) -> None:
    """Check settings, database, Redis, storage and workers, with advice on what does not work.

    Exit codes: 0 everything works; 1 something does not.
    """
    settings = read_settings(Settings, data_dir=data_dir)
    findings = run(run_deep_checks(settings, grace=grace) if deep else run_checks(settings))
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")  # a truncated path is useless
    for finding in findings:
        mark = "[green]ok[/green]" if finding.ok else "[bold red]no[/bold red]"
        table.add_row(mark, finding.part, Text(printable(finding.message)))
        if finding.advice:
            table.add_row("", "", Text(f"→ {finding.advice}", style="bold"))
    console.print(table, highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


@db.command("upgrade")
def upgrade() -> None:
    """Upgrade the database to the newest schema; safe to repeat."""
    settings = read_service_settings()
    run(upgrade_database(settings))
    print_line("The database has the newest schema.")

"""`imgsvc check`, `imgsvc db`: look after a service."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgsvc.cli.console import FAILED, console, read, say
from imgsvc.cli.service import DataDir, run, settings_of_a_service
from imgsvc.cli.stack import upgrade_database
from imgsvc.doctor.check import run_checks
from imgsvc.doctor.deep_check import run_deep_checks
from imgsvc.settings.server import Settings
from imgsvc.terminal.formatting import printable

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")


Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help="Then look at every row and every stored file: counters, images, webhooks, leftovers. Changes nothing, "
        "and may be run beside a working service.",
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="With --deep: what is younger may still be under way (default: IMGSVC_TIDY_AFTER).",
    ),
]


@app.command()
def check(data_dir: DataDir = None, deep: Deep = False, grace: Grace = None) -> None:
    """Examine settings, database, Redis, storage and workers: what works, what does not, and what to do.

    Ends with 0 when all is well, with 1 when something is not.
    """
    settings = read(Settings, data_dir=data_dir)
    findings = run(run_deep_checks(settings, grace=grace) if deep else run_checks(settings))
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")  # a path that is cut short says nothing
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
    """Bring the database to the newest schema; safe to repeat."""
    settings = settings_of_a_service()
    run(upgrade_database(settings))
    say("The database has the newest schema.")

"""The command line: run the service or parts of it, look after it, and use it."""

import typer

from imgsvc.cli import batches, demo, keys, serving, upkeep

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Product catalogues in, compressed images out.")

app.command(rich_help_panel="Use it")(batches.submit)
app.command(rich_help_panel="Use it")(batches.status)
app.command(rich_help_panel="Use it")(demo.demo)
app.command(rich_help_panel="Run it")(serving.up)
app.command(rich_help_panel="Run it")(serving.api)
app.command(rich_help_panel="Run it")(serving.worker)
app.command(rich_help_panel="Look after it")(upkeep.check)
app.add_typer(upkeep.db, name="db", rich_help_panel="Look after it")
app.add_typer(keys.app, name="keys", rich_help_panel="Look after it")

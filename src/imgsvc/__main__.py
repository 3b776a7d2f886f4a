"""`python -m imgsvc` is the command line."""

from imgsvc.cli import app

app(prog_name="imgsvc")

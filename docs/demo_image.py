"""Generate demo.svg, the README's image of a terminal, from the output of a real demo.

.venv/bin/python docs/demo_image.py
"""

import re
import tempfile
from contextlib import chdir
from io import StringIO
from pathlib import Path

from rich.console import Console

from imgsvc.demo.run import run_demo

WIDTH = 108

with tempfile.TemporaryDirectory() as folder, chdir(folder):
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=False, color_system="truecolor")
    console.print("[bold green]$[/] [bold]make demo[/]")
    shown = Path("demo/1")
    shown.mkdir(parents=True)
    run_demo(console, shown)

svg = console.export_svg(title="imgsvc", unique_id="demo")
# Fonts from the web are removed; the reader's own monospace font is used.
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
Path(__file__).with_name("demo.svg").write_text(svg, encoding="utf-8")

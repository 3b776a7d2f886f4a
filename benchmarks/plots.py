"""Images of what was measured, drawn by Matplotlib in a virtual environment of its own."""

import asyncio
import sys
from pathlib import Path

from environments import environment
from processes import HERE

IMAGES = HERE.parent / "docs" / "images"
MATPLOTLIB = ("matplotlib==3.11.2",)


async def draw(name: str, figures: Path) -> None:
    """docs/images/{name}.svg from the JSON in `figures`; skipped with a word where Matplotlib cannot be had."""
    python = await environment("plots", MATPLOTLIB)
    if python is not None:
        script = str(HERE / "elsewhere" / "plot.py")
        process = await asyncio.create_subprocess_exec(str(python), script, name, figures, IMAGES / f"{name}.svg")
        if await process.wait():
            sys.exit(f"{name}.svg could not be drawn")

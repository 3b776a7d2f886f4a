"""Plots of measurements, drawn by Matplotlib in a separate virtual environment."""

import asyncio
import sys
from pathlib import Path

from environments import environment
from processes import HERE

IMAGES = HERE.parent / "docs" / "images"
MATPLOTLIB = ("matplotlib==3.11.2",)


async def draw(name: str, figures: Path) -> None:
    """Draw docs/images/{name}.svg from the JSON in `figures`; skipped if Matplotlib cannot be installed."""
    python = await environment("plots", MATPLOTLIB)
    if python is not None:
        script = str(HERE / "elsewhere" / "plot.py")
        process = await asyncio.create_subprocess_exec(str(python), script, name, figures, IMAGES / f"{name}.svg")
        if await process.wait():
            sys.exit(f"{name}.svg could not be drawn")

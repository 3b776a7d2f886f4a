"""Virtual environments under `build/bench` for packages that imgsvc does not depend on, created on first use."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from pathlib import Path

from processes import HERE

ENVIRONMENTS = HERE.parent / "build" / "bench"


async def environment(name: str, requirements: Sequence[str]) -> Path | None:
    """Return the Python of a virtual environment with these packages; None if they cannot be installed."""
    folder = ENVIRONMENTS / name
    python, done = folder / "bin" / "python", folder / "done"
    if await asyncio.to_thread(_read, done) != str(requirements):
        print(f"installing {', '.join(requirements)}", flush=True)
        for command in (
            (sys.executable, "-m", "venv", "--clear", str(folder)),
            (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements),
        ):
            process = await asyncio.create_subprocess_exec(*command, stderr=DEVNULL)
            if await process.wait():
                print(f"skipped: {', '.join(requirements)} cannot be installed here", flush=True)
                return None
        await asyncio.to_thread(done.write_text, str(requirements))
    return python


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""

"""Runs `imgsvc` commands as a shell does: in a separate process."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from imgsvc.cli import app


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a finished command."""

    code: int
    out: str
    err: str


async def imgsvc(*words: str, cwd: Path, within: float = 60, **environment: str) -> Done:
    """Run a command in `cwd`, with settings in its environment and without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", *words),
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), within)
    return Done(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def in_process(*words: str, **environment: str) -> Done:
    """Run a command as `imgsvc` does, but faster: in a thread of this process."""
    result = await asyncio.to_thread(CliRunner().invoke, app, words, env={"COLUMNS": "200", **environment})
    return Done(result.exit_code, result.stdout, result.stderr)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that `words` begin with, as the program's own parser finds it, and the remaining words."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while isinstance(command, typer.core.TyperGroup):
        assert rest, f"{words} is not a complete command"
        assert rest[0] in command.commands, f"there is no command {rest[0]}"
        _, command, rest = command.resolve_command(typer.Context(command), rest)
    return command, rest

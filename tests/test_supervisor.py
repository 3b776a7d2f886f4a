"""The supervisor with real, small processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from imgsvc.supervisor import Child, Supervisor
from stack import until


def noting(path: Path, name: str) -> list[str]:
    """A process that writes its name into `path` when it is asked to stop, and then stops."""
    script = (
        "import signal, sys, pathlib\n"
        f"def end(*_):\n    open({str(path)!r}, 'a').write({name + ' '!r})\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(path)!r} + '.{name}').touch()\n"
        "while True: signal.pause()"
    )
    return [sys.executable, "-c", script]


@asynccontextmanager
async def supervised(*children: Child) -> AsyncIterator[Supervisor]:
    stopping = asyncio.Event()
    supervisor = Supervisor(children, stopping=stopping, drain=5)
    running = asyncio.create_task(supervisor.run())
    yield supervisor
    stopping.set()
    await asyncio.wait_for(running, 20)


async def test_what_the_others_need_is_stopped_last(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    names = ("base", "one", "two")
    children = [Child(name, noting(notes, name), base=name == "base") for name in names]
    async with supervised(*children):

        async def all_up() -> bool:
            return all((tmp_path / f"notes.{name}").exists() for name in names)

        await until(all_up)
    *first, last = notes.read_text().split()
    assert last == "base"
    assert sorted(first) == ["one", "two"]


async def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "program"
    async with supervised(Child("late", [str(program)])) as supervisor:
        program.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
        program.chmod(0o755)

        async def is_up() -> bool:
            return "late" in supervisor.running

        await until(is_up)


async def test_a_process_that_ends_is_started_again(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x')"
    async with supervised(Child("short", [sys.executable, "-c", script])):

        async def twice() -> bool:
            return count.exists() and len(count.read_text()) >= 2

        await until(twice)

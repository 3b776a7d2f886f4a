"""The supervisor with real, small processes."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imgsvc.errors import CannotStart
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
    await asyncio.wait_for(running, 60)


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


async def test_a_process_that_has_ended_just_before_it_is_stopped_keeps_none_from_being_stopped(tmp_path: Path) -> None:
    """The supervisor has not come to note it yet."""
    short, long = (Child(name, []) for name in ("short", "long"))
    stopping = asyncio.Event()
    stopping.set()
    supervisor = Supervisor([short, long], stopping=stopping, drain=5)
    for child, script in ((short, ""), (long, "import signal; signal.pause()")):
        supervisor.running[child.name] = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await supervisor.running["short"].wait()
    await supervisor.run()
    assert supervisor.running["long"].returncode == -signal.SIGTERM


async def test_the_others_are_started_when_the_base_has_come_up(tmp_path: Path) -> None:
    """And all together: one that is slow to come up does not hold up the start of the rest."""
    may_come_up = asyncio.Event()
    script = "import signal; signal.pause()"

    async def never() -> bool:
        return False

    async def when_told() -> bool:
        return may_come_up.is_set()

    base = Child("base", [sys.executable, "-c", script], ready=when_told, base=True)
    slow = Child("slow", [sys.executable, "-c", script], ready=never)
    other = Child("other", [sys.executable, "-c", script])
    async with supervised(slow, other, base) as supervisor:

        async def running(*names: str) -> bool:
            return set(supervisor.running) == set(names)

        await until(lambda: running("base"))
        may_come_up.set()
        await until(lambda: running("base", "slow", "other"))


async def test_a_process_that_does_not_come_up_is_named_with_where_to_look() -> None:
    async def never() -> bool:
        return False

    child = Child("lame", [sys.executable, "-c", ""], ready=never, ready_within=0.1, hint="Look there.")
    with pytest.raises(CannotStart, match=r"The lame process did not come up within 0.1 s. Look there."):
        await Supervisor([child], stopping=asyncio.Event(), drain=5).run()


async def signals_ignored(trap: str) -> str:
    """Those that a process still ignores that is to be stopped by signals, and was started by a shell after `trap`."""
    script = (
        "import asyncio, signal\n"
        "from imgsvc.supervisor import stop_on_signals\n"
        "async def main():\n"
        "    stop_on_signals(asyncio.Event())\n"
        "    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "        if signal.getsignal(number) in (signal.SIG_IGN, signal.SIG_DFL):\n"
        "            print(number.name)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'{trap} exec "$@"', "bash", sys.executable, "-c", script), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode().strip()


async def test_a_stop_is_asked_for_by_ctrl_c_and_by_the_closing_of_the_terminal() -> None:
    assert await signals_ignored("") == ""


async def test_what_a_script_starts_in_the_background_can_be_stopped_like_by_ctrl_c() -> None:
    """The shell has such jobs ignore it."""
    assert await signals_ignored("trap '' INT;") == ""


async def test_what_nohup_starts_outlives_the_terminal() -> None:
    assert await signals_ignored("trap '' HUP;") == "SIGHUP"

"""The supervisor with real, small processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from imgsvc.errors import StartupError
from imgsvc.process.child_process import bound_to_parent
from imgsvc.process.supervisor import Child, Supervisor
from support.stack import status_of, until
from support.threads import thread_at_work


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


SUPERVISOR = """
import asyncio, sys
from imgsvc.process.supervisor import Child, Supervisor

script = "import os, signal, sys; print(os.getpid(), flush=True); signal.pause()"
child = Child("child", [sys.executable, "-c", script])
asyncio.run(Supervisor([child], stopping=asyncio.Event(), drain=5).run())
"""


async def ended(process: psutil.Process) -> bool:
    return not process.is_running() or status_of(process) == psutil.STATUS_ZOMBIE


async def test_the_processes_of_a_supervisor_that_is_killed_end_too() -> None:
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SUPERVISOR), stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    child = psutil.Process(int(await asyncio.wait_for(supervisor.stdout.readline(), 60)))
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: ended(child))


def test_a_process_whose_parent_was_killed_before_it_could_ask_does_not_begin(tmp_path: Path) -> None:
    command = bound_to_parent(["touch", str(tmp_path / "begun")])
    command[command.index(str(os.getpid()))] = str(os.getppid())
    done = subprocess.run(command, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "begun").exists()


def test_a_command_that_cannot_be_run_says_so_in_a_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = subprocess.run(bound_to_parent([missing]), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, f"{missing} cannot be run: No such file or directory\n")


async def test_what_other_threads_have_is_not_cleared_away_in_a_process_that_is_started() -> None:
    """Python would do so between fork and exec, and may hang in it."""
    with thread_at_work() as cleared:
        async with supervised(Child("child", [sys.executable, "-c", "import signal; signal.pause()"])) as supervisor:

            async def is_up() -> bool:
                return bool(supervisor.running)

            await until(is_up)
        assert cleared() == b""
    assert cleared() == b"cleared away"  # once, here


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
    with pytest.raises(StartupError, match=r"The lame process did not come up within 0.1 s. Look there."):
        await Supervisor([child], stopping=asyncio.Event(), drain=5).run()


async def signals_ignored(trap: str) -> str:
    """Those that a process still ignores that is to be stopped by signals, and was started by a shell after `trap`."""
    script = (
        "import asyncio, signal\n"
        "from imgsvc.process.supervisor import stop_on_signals\n"
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

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


def recorder(path: Path, name: str) -> list[str]:
    """Return the command of a process that appends its name to `path` on SIGTERM and then stops."""
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


async def test_a_base_process_is_stopped_last(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    names = ("base", "one", "two")
    children = [Child(name, recorder(notes, name), base=name == "base") for name in names]
    async with supervised(*children):

        async def all_up() -> bool:
            return all((tmp_path / f"notes.{name}").exists() for name in names)

        await until(all_up)
    *first, last = notes.read_text().split()
    assert last == "base"
    assert sorted(first) == ["one", "two"]


async def test_a_process_that_cannot_be_started_is_retried(tmp_path: Path) -> None:
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


async def test_child_processes_end_when_their_supervisor_is_killed() -> None:
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SUPERVISOR), stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    child = psutil.Process(int(await asyncio.wait_for(supervisor.stdout.readline(), 60)))
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: ended(child))


def test_a_process_whose_parent_is_already_dead_does_not_start(tmp_path: Path) -> None:
    command = bound_to_parent(["touch", str(tmp_path / "started")])
    command[command.index(str(os.getpid()))] = str(os.getppid())
    done = subprocess.run(command, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "started").exists()


def test_a_command_that_cannot_be_run_is_reported_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = subprocess.run(bound_to_parent([missing]), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, f"{missing} cannot be run: No such file or directory\n")


async def test_starting_a_process_does_not_clear_the_locals_of_other_threads() -> None:
    """Python would clear it between fork and exec, and may hang there."""
    with thread_at_work() as cleared:
        async with supervised(Child("child", [sys.executable, "-c", "import signal; signal.pause()"])) as supervisor:

            async def is_up() -> bool:
                return bool(supervisor.running)

            await until(is_up)
        assert cleared() == b""
    assert cleared() == b"cleared away"  # once, here


async def test_a_process_that_ends_is_restarted(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x')"
    async with supervised(Child("short", [sys.executable, "-c", script])):

        async def twice() -> bool:
            return count.exists() and len(count.read_text()) >= 2

        await until(twice)


async def test_a_process_that_ended_before_the_stop_does_not_keep_others_running(tmp_path: Path) -> None:
    """The supervisor has not noticed yet that it ended."""
    short, long = (Child(name, []) for name in ("short", "long"))
    stopping = asyncio.Event()
    stopping.set()
    supervisor = Supervisor([short, long], stopping=stopping, drain=5)
    for child, script in ((short, ""), (long, "import signal; signal.pause()")):
        supervisor.running[child.name] = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await supervisor.running["short"].wait()
    await supervisor.run()
    assert supervisor.running["long"].returncode == -signal.SIGTERM


async def test_other_processes_start_when_the_base_is_ready(tmp_path: Path) -> None:
    """They start together: a slow one does not delay the others."""
    base_ready = asyncio.Event()
    script = "import signal; signal.pause()"

    async def never() -> bool:
        return False

    async def when_set() -> bool:
        return base_ready.is_set()

    base = Child("base", [sys.executable, "-c", script], ready=when_set, base=True)
    slow = Child("slow", [sys.executable, "-c", script], ready=never)
    other = Child("other", [sys.executable, "-c", script])
    async with supervised(slow, other, base) as supervisor:

        async def running(*names: str) -> bool:
            return set(supervisor.running) == set(names)

        await until(lambda: running("base"))
        base_ready.set()
        await until(lambda: running("base", "slow", "other"))


async def test_a_process_that_does_not_start_is_named_with_a_hint() -> None:
    async def never() -> bool:
        return False

    child = Child("lame", [sys.executable, "-c", ""], ready=never, ready_within=0.1, hint="Look there.")
    with pytest.raises(StartupError, match=r"The lame process did not start within 0.1 s. Look there."):
        await Supervisor([child], stopping=asyncio.Event(), drain=5).run()


async def signals_ignored(trap: str) -> str:
    """Return the signals ignored after `stop_on_signals` by a process that a shell started after `trap`."""
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


async def test_ctrl_c_and_closing_the_terminal_stop_the_process() -> None:
    assert await signals_ignored("") == ""


async def test_a_background_job_of_a_script_can_be_stopped_by_sigint() -> None:
    """A shell makes background jobs ignore SIGINT."""
    assert await signals_ignored("trap '' INT;") == ""


async def test_a_process_started_by_nohup_outlives_the_terminal() -> None:
    assert await signals_ignored("trap '' HUP;") == "SIGHUP"

"""`imgsvc up` as a command: what it refuses, what it leaves behind."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil

from stack import Stack, free_port, until


async def refusal(*arguments: str, limits: str = "") -> tuple[int, str]:
    """Exit code and messages of an `imgsvc up` that must not start, under `limits` that a shell sets before."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'{limits} exec "$@"', "bash", sys.executable, "-m", "imgsvc", "up", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, " ".join(said.decode().split())


async def test_a_second_up_on_the_same_data_folder_is_refused_in_words(stack: Stack, tmp_path: Path) -> None:
    code, said = await refusal("--data-dir", str(tmp_path), "--port", str(free_port()))
    assert code == 1
    assert f"Another imgsvc (process {stack.process.pid}, {stack.client.base_url}) is using the data folder" in said


async def test_a_port_that_is_taken_is_named(stack: Stack, tmp_path: Path) -> None:
    port = stack.client.base_url.port
    code, said = await refusal("--data-dir", str(tmp_path / "other"), "--port", str(port))
    assert code == 1
    assert f"Port {port} of 127.0.0.1 is taken by another program" in said


async def test_a_disk_that_takes_no_more_is_said_in_words(tmp_path: Path) -> None:
    """As when it is full, only that the reason then is another."""
    code, said = await refusal("--data-dir", str(tmp_path), "--port", str(free_port()), limits="ulimit -f 8;")
    assert (code, "Traceback" in said) == (1, False)
    assert f"The database sqlite+aiosqlite:///{tmp_path}/imgsvc.db cannot be brought to the newest schema" in said


async def test_ctrl_c_stops_everything_that_was_started(stack: Stack) -> None:
    started = stack.children()
    assert len(started) == 3  # Valkey, API, worker
    assert await stack.stop() == 0
    assert not [child for child in started if child.is_running()]


async def test_an_api_process_that_dies_is_started_again(stack: Stack) -> None:
    [api] = stack.children("api")
    api.kill()

    async def is_back() -> bool:
        return any(child.pid != api.pid for child in stack.children("api"))

    await until(is_back)


async def test_when_the_supervisor_is_killed_its_processes_go_too(stack: Stack) -> None:
    started = stack.children()
    stack.process.send_signal(signal.SIGKILL)
    await stack.process.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 30)
    assert not alive

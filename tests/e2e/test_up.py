"""`imgsvc up` as a command: its refusals, and what remains after it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from support.stack import Stack, free_port, speaks_ipv6, until


async def refusal(*arguments: str, limits: str = "") -> tuple[int, str]:
    """Return the exit code and messages of an `imgsvc up` that must not start; a shell sets `limits` first."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'{limits} exec "$@"', "bash", sys.executable, "-m", "imgsvc", "up", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, messages = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, " ".join(messages.decode().split())


async def test_a_second_up_on_the_same_data_folder_is_refused_with_a_message(stack: Stack) -> None:
    code, messages = await refusal("--data-dir", str(stack.folder), "--port", str(free_port()))
    assert code == 1
    assert f"Another imgsvc (process {stack.process.pid}, {stack.client.base_url}) is using the data folder" in messages


async def test_a_port_in_use_is_named(stack: Stack, tmp_path: Path) -> None:
    port = stack.client.base_url.port
    code, messages = await refusal("--data-dir", str(tmp_path / "other"), "--port", str(port))
    assert code == 1
    assert f"Port {port} of 127.0.0.1 is in use by another program" in messages


async def test_a_full_disk_is_reported_with_a_message(tmp_path: Path) -> None:
    """A file size limit fails like a full disk, with another reason."""
    code, messages = await refusal("--data-dir", str(tmp_path), "--port", str(free_port()), limits="ulimit -f 8;")
    assert (code, "Traceback" in messages) == (1, False)
    assert f"The database sqlite+aiosqlite:///{tmp_path}/imgsvc.db cannot be upgraded to the newest schema" in messages


@pytest.mark.slow
async def test_ctrl_c_stops_every_process(own_stack: Stack) -> None:
    started = own_stack.children()
    assert len(started) == 3  # Valkey, API, worker
    assert await own_stack.stop() == 0
    assert not [child for child in started if child.is_running()]


@pytest.mark.slow
async def test_a_dead_api_process_is_restarted(own_stack: Stack) -> None:
    [api] = own_stack.children("api")
    api.kill()

    async def is_back() -> bool:
        return any(child.pid != api.pid for child in own_stack.children("api"))

    await until(is_back)


@pytest.mark.slow
async def test_killing_the_supervisor_ends_its_processes(own_stack: Stack) -> None:
    started = own_stack.children()
    own_stack.process.send_signal(signal.SIGKILL)
    await own_stack.process.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 30)
    assert not alive


@pytest.mark.slow
async def test_ipv6_loopback_works(tmp_path: Path) -> None:
    if not speaks_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    async with running_up(tmp_path, "--host", "::1", "--port", str(port)) as process:
        assert f"http://[::1]:{port}/docs" in await welcome_line(process)


@pytest.mark.slow
async def test_closing_the_terminal_stops_every_process_and_leaves_no_file(tmp_path: Path) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    async with running_up(tmp_path / "data", TMPDIR=str(temporary)) as process:
        await welcome_line(process)
        children = psutil.Process(process.pid).children()
        assert list(temporary.iterdir())
        process.send_signal(signal.SIGHUP)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    assert not [child for child in children if child.is_running()]
    assert not list(temporary.iterdir())


@pytest.mark.slow
async def test_a_long_path_of_the_temporary_folder_works(tmp_path: Path) -> None:
    (temporary := tmp_path / ("long" * 30)).mkdir()
    async with running_up(tmp_path / "data", TMPDIR=str(temporary)) as process:
        assert "imgsvc is up." in await welcome_line(process)


@pytest.mark.slow
async def test_a_file_of_the_user_does_not_shadow_a_library(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('shadowed')")
    program = str(Path(sys.executable).with_name("imgsvc"))
    async with running_up(tmp_path / "data", program=(program,), cwd=tmp_path) as process:
        assert "imgsvc is up." in await welcome_line(process)


@pytest.mark.slow
async def test_the_password_of_redis_is_not_written_to_the_data_folder(tmp_path: Path, valkey_url: str) -> None:
    async with running_up(tmp_path, IMGSVC_REDIS_URL=f"{valkey_url}?client_name=hush") as process:
        await welcome_line(process)
        assert "hush" not in (tmp_path / ".lock").read_text()


@asynccontextmanager
async def running_up(
    data_dir: Path,
    *arguments: str,
    program: Sequence[str] = (sys.executable, "-m", "imgsvc"),
    cwd: Path | None = None,
    **environment: str,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an `imgsvc up` whose output is read, until the end of the block."""
    port = () if "--port" in arguments else ("--port", str(free_port()))
    process = await asyncio.create_subprocess_exec(
        *program, "up", "--data-dir", str(data_dir), *port, *arguments,
        env={**os.environ, **environment}, cwd=cwd, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 60)


async def welcome_line(process: asyncio.subprocess.Process) -> str:
    """Return the line with the address."""
    assert process.stdout
    await process.stdout.readline()
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode()


async def test_endless_headers_are_refused_without_affecting_others(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.client.base_url.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Y: z\r\n" * 20_000)
    async with asyncio.timeout(20):
        assert (await reader.readline()).split()[1] in {b"400", b"431"}
    writer.close()
    assert (await stack.client.get("/healthz")).status_code == 200

"""The stack as a user starts it: `imgsvc up` with its child processes."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import SystemRandom
from time import monotonic
from typing import Any

import httpx
import psutil

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
"""The secret that signs the webhooks of every test."""

Probe = Callable[[], Awaitable[Any]]

# Like the default recovery, but faster: a dead worker's lanes are released after job_timeout + 10 s, its assets after
# the lease.
QUICK: dict[str, Any] = {
    "IMGSVC_LEASE": "3",
    "IMGSVC_LANE_LIFETIME": "2",
    "IMGSVC_JOB_TIMEOUT": "3",
    "IMGSVC_TOTAL_TIMEOUT": "2",
    "IMGSVC_WEBHOOK_TIMEOUT": "2",
    "IMGSVC_SWEEP_INTERVAL": "1",
    "IMGSVC_FLUSH_INTERVAL": "0.1",
    "IMGSVC_MAX_ATTEMPTS": "5",  # stopping a process for some seconds costs each running fetch one
    "IMGSVC_WEBHOOK_SCHEDULE": ",".join(["0", *["2"] * 20]),
}
# The same for tests that do not wait for leases to expire: a process stopped for some seconds keeps leases and fetches.
QUICK_WITH_LONG_LEASES = QUICK | {
    "IMGSVC_LEASE": "60",
    "IMGSVC_LANE_LIFETIME": "40",
    "IMGSVC_JOB_TIMEOUT": "60",
    "IMGSVC_TOTAL_TIMEOUT": "40",
}

_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


async def until(probe: Probe, *, within: float = 60) -> Any:
    """Call `probe` repeatedly and return its first true result."""
    deadline = monotonic() + within
    while True:
        result = await probe()
        if result:
            return result
        assert monotonic() < deadline, f"not within {within} s; the last result was {result!r}"
        await asyncio.sleep(0.05)


def status_of(process: psutil.Process) -> str:
    """Return the status of a process; a zombie's if it has just ended."""
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_ZOMBIE)


def command_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; empty if it has just ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class Stack:
    """A running `imgsvc up` with its data in `folder`, and a client for it."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient, folder: Path) -> None:
        self.process = process
        self.client = client
        self.folder = folder

    def children(self, word: str = "") -> list[psutil.Process]:
        """Return the living child processes; only those with `word` in their command, if given."""
        alive = [
            child for child in psutil.Process(self.process.pid).children() if status_of(child) != psutil.STATUS_ZOMBIE
        ]
        return [child for child in alive if not word or word in command_of(child)]

    def workers(self) -> list[psutil.Process]:
        return self.children("imgsvc.worker")

    async def upload(self, manifest: str, **fields: str) -> str:
        """Upload a CSV and return the id of its batch."""
        answer = await self.client.post("/v1/batches", files={"file": ("shop.csv", manifest)}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def batch(self, batch_id: str, **query: Any) -> Any:
        return (await self.client.get(f"/v1/batches/{batch_id}", params=query)).json()

    async def finished(self, batch_id: str, *, within: float = 90) -> Any:
        """Wait until the batch has finished and return it."""

        async def ended() -> Any:
            batch = await self.batch(batch_id, wait=5)
            return batch if batch["finished_at"] else None

        return await until(ended, within=within)

    async def stop(self) -> int:
        """Stop as Ctrl-C does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), 60)


@asynccontextmanager
async def running_stack(
    folder: Path, *arguments: str, log: Path | None = None, **environment: str
) -> AsyncIterator[Stack]:
    """Run `imgsvc up` on a free port with its data in `folder` until the block ends; its stderr goes to `log`.

    It has one worker unless the `arguments` set another number.
    """
    port = free_port()
    log_file = log.open("ab") if log else None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", "up", "--port", str(port), "--data-dir", str(folder)),
        *("--workers", "1", *arguments),
        env={**os.environ, "IMGSVC_ALLOWED_NETWORKS": "127.0.0.0/8", "IMGSVC_WEBHOOK_SECRET": SECRET, **environment},
        cwd=folder,
        stderr=log_file,
    )
    try:
        async with client_for(f"http://127.0.0.1:{port}") as client:
            stack = Stack(process, client, folder)
            await until(lambda: _is_ready(stack), within=90)
            yield stack
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
        if log_file:
            log_file.close()


def client_for(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=100, trust_env=False)


async def _is_ready(stack: Stack) -> bool:
    assert stack.process.returncode is None, "imgsvc up ended at once"
    try:
        return (await stack.client.get("/readyz", params={"strict": "true"})).is_success
    except httpx.TransportError:
        return False


def with_descriptors(soft: int, hard: int, *command: str) -> list[str]:
    """Return a command that runs `command` with these limits on open files, set by a shell."""
    return ["bash", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "bash", *command]


def free_port() -> int:
    """Return a free port that only this process gets, and only once.

    A port chosen by the system could be in use again before the test uses it: every server on port 0 gets one.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise AssertionError  # the ports never run out


def _ports() -> Iterator[int]:
    """Yield ports below the ephemeral range; this process reserves them a hundred at a time for its lifetime."""
    while not _EPHEMERAL_PORTS.exists():
        yield 0
    first = int(_EPHEMERAL_PORTS.read_text().split()[0])
    while True:
        hundred = SystemRandom().randrange(100, max(first, 11_000) // 100)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0ports-of-imgsvc-tests-{hundred}")  # an abstract name: it is released with the process
        except OSError:
            claim.close()
            continue
        claim.detach()
        yield from range(100 * hundred, 100 * hundred + 100)


_PORTS = _ports()


def speaks_ipv6() -> bool:
    """Return whether this machine has ::1, which containers often lack."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

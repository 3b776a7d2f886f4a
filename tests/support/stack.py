"""The stack as a user starts it: `imgsvc up` in processes of its own."""

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
"""Signs the webhooks of every test."""

Probe = Callable[[], Awaitable[Any]]

# Recovery as by default, only faster: a dead worker's lanes are free again after job_timeout + 10 s, its assets
# after the lease.
QUICK: dict[str, Any] = {
    "IMGSVC_LEASE": "3",
    "IMGSVC_LANE_LIFETIME": "2",
    "IMGSVC_JOB_TIMEOUT": "3",
    "IMGSVC_TOTAL_TIMEOUT": "2",
    "IMGSVC_WEBHOOK_TIMEOUT": "2",
    "IMGSVC_SWEEP_INTERVAL": "1",
    "IMGSVC_FLUSH_INTERVAL": "0.1",
    "IMGSVC_MAX_ATTEMPTS": "5",  # a process that is stopped for some seconds costs each fetch under way one
    "IMGSVC_WEBHOOK_SCHEDULE": ",".join(["0", *["2"] * 20]),
}
# The same where nothing waits for the end of a lease: whoever is stopped for some seconds loses none, and no fetch.
UNHURRIED = QUICK | {
    "IMGSVC_LEASE": "60",
    "IMGSVC_LANE_LIFETIME": "40",
    "IMGSVC_JOB_TIMEOUT": "60",
    "IMGSVC_TOTAL_TIMEOUT": "40",
}

_SYSTEMS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


async def until(probe: Probe, *, within: float = 60) -> Any:
    """The first true answer of `probe`, asked again and again."""
    deadline = monotonic() + within
    while True:
        answer = await probe()
        if answer:
            return answer
        assert monotonic() < deadline, f"not within {within} s; the last answer was {answer!r}"
        await asyncio.sleep(0.05)


def status_of(process: psutil.Process) -> str:
    """That of a zombie when it has just ended."""
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_ZOMBIE)


def command_of(process: psutil.Process) -> list[str]:
    """Empty when it has just ended."""
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
        """The processes that it started and that live now; only those with `word` in their command, if given."""
        living = [
            child for child in psutil.Process(self.process.pid).children() if status_of(child) != psutil.STATUS_ZOMBIE
        ]
        return [child for child in living if not word or word in command_of(child)]

    def workers(self) -> list[psutil.Process]:
        return self.children("imgsvc.worker")

    async def upload(self, manifest: str, **fields: str) -> str:
        """The id of the batch that was accepted."""
        answer = await self.client.post("/v1/batches", files={"file": ("shop.csv", manifest)}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def batch(self, batch_id: str, **query: Any) -> Any:
        return (await self.client.get(f"/v1/batches/{batch_id}", params=query)).json()

    async def finished(self, batch_id: str, *, within: float = 90) -> Any:
        """The batch at its end."""

        async def ended() -> Any:
            batch = await self.batch(batch_id, wait=5)
            return batch if batch["finished_at"] else None

        return await until(ended, within=within)

    async def stop(self) -> int:
        """Stop as Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), 60)


@asynccontextmanager
async def running_stack(
    folder: Path, *arguments: str, log: Path | None = None, **environment: str
) -> AsyncIterator[Stack]:
    """`imgsvc up` on a free port with its data in `folder`, ended after the block; what it says goes to `log`.

    It has one worker, so that it is known which one works, unless the `arguments` say otherwise.
    """
    port = free_port()
    said = log.open("ab") if log else None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", "up", "--port", str(port), "--data-dir", str(folder)),
        *("--workers", "1", *arguments),
        env={**os.environ, "IMGSVC_ALLOWED_NETWORKS": "127.0.0.0/8", "IMGSVC_WEBHOOK_SECRET": SECRET, **environment},
        cwd=folder,
        stderr=said,
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
        if said:
            said.close()


def client_for(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=100, trust_env=False)


async def _is_ready(stack: Stack) -> bool:
    assert stack.process.returncode is None, "imgsvc up ended at once"
    try:
        return (await stack.client.get("/readyz", params={"strict": "true"})).is_success
    except httpx.TransportError:
        return False


def with_descriptors(soft: int, hard: int, *command: str) -> list[str]:
    """A command that runs `command` with these limits on open files, as a shell sets them."""
    return ["bash", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "bash", *command]


def free_port() -> int:
    """A port on which nobody listens, nor will anybody whom the test has not told: it is given once, to one process.

    One that the system chooses could be somebody else's by the time it is used: every server on port 0 gets one.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise AssertionError  # they have no end


def _ports() -> Iterator[int]:
    """Those below the system's own, a hundred at a time, which this process has for itself for as long as it lives."""
    while not _SYSTEMS_PORTS.exists():
        yield 0
    first = int(_SYSTEMS_PORTS.read_text().split()[0])
    while True:
        hundred = SystemRandom().randrange(100, max(first, 11_000) // 100)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0ports-of-imgsvc-tests-{hundred}")  # no file: the name is free again with the process
        except OSError:
            claim.close()
            continue
        claim.detach()
        yield from range(100 * hundred, 100 * hundred + 100)


_PORTS = _ports()


def speaks_ipv6() -> bool:
    """Whether this machine has ::1, which containers often lack."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

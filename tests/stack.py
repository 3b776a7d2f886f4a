"""The stack as a user starts it: `imgsvc up` in processes of its own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
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
}


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
    """A running `imgsvc up` and a client for it."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client

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
        return await asyncio.wait_for(self.process.wait(), 40)


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
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40, trust_env=False) as client:
            stack = Stack(process, client)
            await until(lambda: _is_ready(stack), within=40)
            yield stack
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 40)
        if said:
            said.close()


async def _is_ready(stack: Stack) -> bool:
    assert stack.process.returncode is None, "imgsvc up ended at once"
    try:
        return (await stack.client.get("/readyz", params={"strict": "true"})).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def speaks_ipv6() -> bool:
    """Whether this machine has ::1, which containers often lack."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

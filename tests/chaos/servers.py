"""The servers that imgsvc uses, each in its own process: Valkey and S3 (Postgres: tests/support/databases.py)."""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import boto3
import httpx
import psutil
from redis.asyncio import Redis

from imgsvc.adapters.redis.embedded_valkey import responds, valkey_command
from imgsvc.process.child_process import bound_to_parent
from support.stack import free_port, until

BUCKET = "images"
S3_LOGIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def signal_all(processes: Iterable[psutil.Process], number: int) -> None:
    """Send signal `number` to each process that is still alive."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


class Valkey:
    """A Valkey server without persistence: a restart loses all its data."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._command = valkey_command(self.socket, log=folder / "valkey.log")
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*bound_to_parent(self._command))
        await until(lambda: responds(self.socket))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def command(self, *arguments: str) -> None:
        async with Redis(unix_socket_path=str(self.socket)) as redis:
            await redis.execute_command(*arguments)  # type: ignore[no-untyped-call]

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@asynccontextmanager
async def object_store() -> AsyncIterator[int]:
    """Run an S3 server with an empty bucket in its own process, and yield its port."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    server = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    process = await asyncio.create_subprocess_exec(*bound_to_parent(server), stdout=DEVNULL, stderr=DEVNULL)
    try:
        await until(lambda: _responds(endpoint), within=90)
        await asyncio.to_thread(_make_bucket, endpoint)
        yield port
    finally:
        process.kill()
        await process.wait()


async def _responds(endpoint: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(endpoint)).is_success
        except httpx.TransportError:
            return False


def _make_bucket(endpoint: str) -> None:
    login = {name.lower(): value for name, value in S3_LOGIN.items() if name != "AWS_REGION"}
    client = boto3.client("s3", region_name=S3_LOGIN["AWS_REGION"], endpoint_url=endpoint, **login)
    client.create_bucket(Bucket=BUCKET)

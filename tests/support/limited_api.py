"""`imgsvc api` in a process with few descriptors, and clients that keep connections open."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from imgsvc.settings.server import Settings
from support.stack import until, with_descriptors

DESCRIPTORS = 256
"""The hard limit, which the process cannot raise."""


@dataclass(frozen=True, slots=True)
class LimitedApi:
    address: tuple[str, int]
    process: asyncio.subprocess.Process

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://{self.address[0]}:{self.address[1]}", timeout=30, trust_env=False)

    async def answers(self) -> bool:
        """Check that a new client gets a response."""
        async with self.client() as client:
            try:
                return (await client.get("/healthz")).is_success
            except httpx.TransportError:
                return False

    def hold_open(self, stack: ExitStack, *, count: int, sending: bytes = b"") -> None:
        """Open `count` connections, send `sending` on each, and let `stack` close them."""
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(self.address, timeout=10))
            connection.sendall(sending)


@asynccontextmanager
async def limited_api(
    settings: Settings, *, command: tuple[str, ...] = ("-m", "imgsvc", "api", "--fd")
) -> AsyncIterator[LimitedApi]:
    """Yield the API with at most `DESCRIPTORS`; the descriptor of its listening socket is appended to `command`."""
    environment = {
        **os.environ,
        "IMGSVC_DATA_DIR": str(settings.data_dir),
        "IMGSVC_DATABASE_URL": settings.database_url,
        "IMGSVC_REDIS_URL": settings.redis_url,
    }
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        process = await asyncio.create_subprocess_exec(
            *with_descriptors(DESCRIPTORS, DESCRIPTORS, sys.executable, *command, str(listener.fileno())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=(listener.fileno(),),
        )
        api = LimitedApi(listener.getsockname(), process)
        try:
            await until(api.answers)
            yield api
        finally:
            process.terminate()
            await process.communicate()

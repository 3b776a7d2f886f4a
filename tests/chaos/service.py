"""`imgsvc up` under a service manager that restarts it whenever it ends."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from imgsvc.process.child_process import bound_to_parent
from support.stack import command_of, free_port

WORKERS = 2


class Service:
    """The service; it runs from `start` on, and its log is `up.log` in `folder`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment | {"IMGSVC_DATA_DIR": str(folder), "IMGSVC_PORT": str(self.port)}
        self._folder = folder
        self._may_run = asyncio.Event()
        self._process: Process | None = None
        self._restarts = asyncio.create_task(self._keep_running())

    def start(self) -> None:
        self._may_run.set()

    async def kill(self) -> None:
        """End the service as kill -9 does; it is not restarted before `start`."""
        self._may_run.clear()
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int | None:
        """Stop the service for good as Ctrl-C does, and return its exit code."""
        self._restarts.cancel()
        await asyncio.gather(self._restarts, return_exceptions=True)
        if self._process is None or self._process.returncode is not None:
            return None
        self._process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self._process.wait(), 60)

    async def ready(self) -> bool:
        """Return whether API, Redis and every worker are running."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            try:
                answer = await client.get(f"{self.url}/readyz", params={"strict": "true"})
            except httpx.TransportError:
                return False
        return answer.is_success and len(self.children("imgsvc.worker")) == WORKERS

    def children(self, word: str) -> list[psutil.Process]:
        """Return the running child processes with `word` in their command."""
        if self._process is None or self._process.returncode is not None:
            return []
        with suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self._process.pid).children() if word in command_of(child)]
        return []

    async def _keep_running(self) -> None:
        with (self._folder / "up.log").open("ab") as log:
            while await self._may_run.wait():
                self._process = await asyncio.create_subprocess_exec(
                    *bound_to_parent([sys.executable, "-m", "imgsvc", "up", "--workers", str(WORKERS)]),
                    env=self.environment,
                    cwd=self._folder,
                    stdout=log,
                    stderr=log,
                )
                await self._process.wait()
                await asyncio.sleep(0.3)

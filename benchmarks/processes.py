"""The service and an origin as processes of their own, for the benchmarks."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import httpx
import psutil
from aiohttp import web

HERE = Path(__file__).parent
END_WITHIN = 3_600
"""Seconds that a batch may take."""


@asynccontextmanager
async def origin(**options: object) -> AsyncIterator[str]:
    """An origin process with the options of `origin.py`; gives its URL."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "origin.py"), "0", *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def urls(origin_url: str, count: int, *, catalogue: str) -> list[str]:
    """The same `catalogue` has the same URLs."""
    return [f"{origin_url}/{catalogue}/{number}.jpg" for number in range(count)]


def manifest(urls: Iterable[str]) -> str:
    """A CSV of a product for each URL."""
    rows = (f"{number},Product {number},{url}" for number, url in enumerate(urls, start=1))
    return "\n".join(["S. No.,Product Name,Input Image Urls", *rows])


class Service:
    """A running `imgsvc up`, a client for it, and a listener for its webhooks."""

    def __init__(self, client: httpx.AsyncClient, pid: int) -> None:
        self.client = client
        self.pid = pid
        self._ended: dict[str, asyncio.Event] = {}

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.pid).children()
        return [child for child in children if "imgsvc.worker" in child.cmdline()]

    async def upload(self, urls: Sequence[str]) -> str:
        """The path of the accepted batch."""
        answer = await self.client.post(
            "/v1/batches", files={"file": ("b.csv", manifest(urls))}, data={"webhook_url": self.hook}
        )
        answer.raise_for_status()
        path = httpx.URL(answer.headers["location"]).path
        self._ended.setdefault(path.rpartition("/")[2], asyncio.Event())
        return path

    async def ended(self, path: str) -> None:
        """The webhook has arrived."""
        await asyncio.wait_for(self._ended[path.rpartition("/")[2]].wait(), END_WITHIN)

    async def images_per_second(self, urls: Sequence[str]) -> float:
        """From the POST of the CSV to the arrival of the webhook; every image must have succeeded."""
        started = perf_counter()
        path = await self.upload(urls)
        await self.ended(path)
        seconds = perf_counter() - started
        batch = (await self.client.get(path)).json()
        assert batch["counts"]["assets"]["succeeded"] == len(urls), batch
        return len(urls) / seconds

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Receive webhooks meanwhile."""

        async def receive(request: web.Request) -> web.Response:
            batch_id = (await request.json())["data"]["id"]
            self._ended.setdefault(batch_id, asyncio.Event()).set()
            return web.Response()

        application = web.Application()
        application.router.add_post("/hook", receive)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.hook = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield
        finally:
            await runner.cleanup()


@asynccontextmanager
async def service(*arguments: str, **settings: object) -> AsyncIterator[Service]:
    """`imgsvc up` as users start it, on a fresh data folder and a free port, with further `settings`."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        port = _free_port()
        env = {"ALLOWED_NETWORKS": "127.0.0.0/8", "LOG_LEVEL": "WARNING", **settings}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgsvc", "up", "--port", str(port), "--data-dir", folder, *arguments),
            env={**os.environ, **{f"IMGSVC_{name}": str(value) for name, value in env.items()}},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
                await _ready(client)
                service = Service(client, process.pid)
                async with service.listening():
                    yield service
        finally:
            process.terminate()
            await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def _ready(client: httpx.AsyncClient) -> None:
    for _ in range(300):
        try:
            if (await client.get("/readyz", params={"strict": "true"})).is_success:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("imgsvc up did not come up")

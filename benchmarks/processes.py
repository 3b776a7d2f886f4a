"""The service and an origin in separate processes, for the benchmarks."""

import asyncio
import os
import socket
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import httpx
import psutil
from aiohttp import web

HERE = Path(__file__).parent
END_WITHIN = 1_200
"""Seconds that a batch may take."""


@asynccontextmanager
async def origin(**options: object) -> AsyncIterator[str]:
    """Run an origin process with the options of `origin.py`; yield its URL."""
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
    """Return the URLs of a catalogue; the same `catalogue` always has the same URLs."""
    return [f"{origin_url}/{catalogue}/{number}.jpg" for number in range(count)]


def manifest(urls: Iterable[str]) -> str:
    """Return a CSV with one product per URL."""
    rows = (f"{number},Product {number},{url}" for number, url in enumerate(urls, start=1))
    return "\n".join(["S. No.,Product Name,Input Image Urls", *rows])


class Listener:
    """A receiver of webhooks at `url`."""

    url = ""

    def __init__(self) -> None:
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        self._ended[(await request.json())["data"]["id"]].set()
        return web.Response()

    async def wait_for(self, batch_id: str) -> None:
        """Wait for the webhook of a batch."""
        await asyncio.wait_for(self._ended[batch_id].wait(), END_WITHIN)


@asynccontextmanager
async def webhooks() -> AsyncIterator[Listener]:
    listener = Listener()
    async with serving(web.post("/hook", listener.receive)) as url:
        listener.url = f"{url}/hook"
        yield listener


@asynccontextmanager
async def serving(route: web.AbstractRouteDef) -> AsyncIterator[str]:
    """Run a server in this event loop; yield its URL."""
    application = web.Application()
    application.add_routes([route])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Service:
    """A running `imgsvc up`, a client for it, and a listener for its webhooks."""

    def __init__(self, client: httpx.AsyncClient, listener: Listener, pid: int) -> None:
        self.client = client
        self._listener = listener
        self._pid = pid

    def workers(self) -> list[psutil.Process]:
        return self._children("imgsvc.worker")

    def environment(self) -> dict[str, str]:
        """Return the environment of the workers, which has every setting."""
        return dict(self.workers()[0].environ())

    @asynccontextmanager
    async def with_key(self, name: str) -> "AsyncIterator[Service]":
        """Create an API key; inside the block, use the service with it."""
        command = (sys.executable, "-m", "imgsvc", "keys", "create", name)
        process = await asyncio.create_subprocess_exec(*command, env=self.environment(), stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        headers = {"Authorization": f"Bearer {output.decode().split(chr(10))[1].strip()}"}
        async with httpx.AsyncClient(
            base_url=self.client.base_url, headers=headers, timeout=120, trust_env=False
        ) as client:
            yield Service(client, self._listener, self._pid)

    def api(self) -> psutil.Process:
        [process] = self._children("api")
        return process

    def redis(self) -> psutil.Process:
        [process] = [child for child in psutil.Process(self._pid).children() if "valkey" in child.name()]
        return process

    def _children(self, word: str) -> list[psutil.Process]:
        return [child for child in psutil.Process(self._pid).children() if word in child.cmdline()]

    async def upload(self, csv: str, **fields: str) -> str:
        """Upload a CSV and return the path of the batch."""
        data = {"webhook_url": self._listener.url, **fields}
        answer = await self.client.post("/v1/batches", files={"file": ("b.csv", csv)}, data=data)
        answer.raise_for_status()
        return httpx.URL(answer.headers["location"]).path

    async def ended(self, path: str) -> None:
        """Wait for the webhook of a batch."""
        await self._listener.wait_for(path.rpartition("/")[2])

    async def images_per_second(self, urls: Sequence[str]) -> float:
        """Measure from the POST of the CSV to the arrival of the webhook; every image must succeed."""
        return (await self.measured(urls))[1]

    async def measured(self, urls: Sequence[str]) -> tuple[str, float]:
        """Return the path of the batch and its images per second."""
        csv = manifest(urls)
        started = perf_counter()
        path = await self.upload(csv)
        await self.ended(path)
        seconds = perf_counter() - started
        batch = (await self.client.get(path)).json()
        assert batch["counts"]["assets"]["succeeded"] == len(urls), batch
        return path, len(urls) / seconds


@asynccontextmanager
async def service(*arguments: str, **settings: object) -> AsyncIterator[Service]:
    """Run `imgsvc up` as users do, with a new data folder, a free port and additional `settings`."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        port = free_port()
        env = {"ALLOWED_NETWORKS": "127.0.0.0/8", "LOG_LEVEL": "WARNING", **settings}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgsvc", "up", "--port", str(port), "--data-dir", folder, *arguments),
            env={**os.environ, **{f"IMGSVC_{name}": str(value) for name, value in env.items()}},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
                await _ready(client)
                async with webhooks() as listener:
                    yield Service(client, listener, process.pid)
        finally:
            process.terminate()
            await process.wait()


def free_port() -> int:
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
    raise SystemExit("imgsvc up did not start")

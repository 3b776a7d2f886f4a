"""Other programs with the same catalogue: img2dataset, and the usual implementation with Flask and Celery.

Each runs in a separate virtual environment (environments.py).
"""

import asyncio
import os
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import httpx

from imgsvc.adapters.redis.embedded_valkey import responds, valkey_command
from processes import HERE, free_port, manifest, webhooks

IMG2DATASET = ("img2dataset==1.47.0",)
FLASK_CELERY = ("flask==3.1.3", "celery[redis]==5.7.0", "packaging", "requests==2.34.2", "pillow==13.0.0")


async def img2dataset(python: Path, urls: Sequence[str]) -> tuple[float, float]:
    """Measure images per second: from the first to the last tenth of its files, and including its start-up."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        url_list, output = Path(folder, "urls.txt"), Path(folder, "output")
        await asyncio.to_thread(url_list.write_text, "\n".join(urls))
        options = {
            "url_list": url_list, "input_format": "txt", "output_folder": output, "output_format": "files",
            "resize_mode": "no", "encode_quality": 50, "number_sample_per_shard": 250, "max_shard_retry": 0,
            "processes_count": os.cpu_count(), "thread_count": 64, "timeout": 30,
        }  # fmt: skip
        started = perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-m", "img2dataset.main", *(f"--{name}={value}" for name, value in options.items())),
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        await process.wait()
        seconds = perf_counter() - started
        written = await asyncio.to_thread(_times, output)
        assert len(written) == len(urls), f"img2dataset wrote {len(written)} of {len(urls)}"
        first, last = len(written) // 10, len(written) * 9 // 10
        return (last - first) / (written[last] - written[first]), len(urls) / seconds


def _times(folder: Path) -> list[float]:
    """Return the sorted modification times of the folder's JPEGs."""
    return sorted(path.stat().st_mtime for path in folder.rglob("*.jpg"))


@asynccontextmanager
async def flask_celery(python: Path) -> AsyncIterator["FlaskCelery"]:
    """Run Flask, Celery with one process per core, and a broker."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        socket, port = Path(folder, "broker.sock"), free_port()
        broker = f"redis+socket://{socket}"
        env = {**os.environ, "PEER_FOLDER": folder, "PEER_BROKER": broker, "PYTHONPATH": str(HERE / "elsewhere")}
        celery = ("celery", "-A", "flask_celery:celery", "worker", "-c", str(os.cpu_count()), "-l", "ERROR")
        processes: list[asyncio.subprocess.Process] = []
        try:
            processes.append(await asyncio.create_subprocess_exec(*valkey_command(socket, log=Path(folder, "log"))))
            await _wait_for_broker(socket)
            for words in (("flask", "--app", "flask_celery", "run", "--port", str(port)), celery):
                command = (str(python), "-m", *words)
                process = await asyncio.create_subprocess_exec(*command, env=env, stdout=DEVNULL, stderr=DEVNULL)
                processes.append(process)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                yield FlaskCelery(client)
        finally:
            for process in reversed(processes):
                process.terminate()
                await process.wait()


async def _wait_for_broker(socket: Path) -> None:
    for _ in range(100):
        if await responds(socket):
            return
        await asyncio.sleep(0.1)  # the broker gives no other sign of readiness
    raise SystemExit("the broker did not start")


class FlaskCelery:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def wait_until_ready(self, origin_url: str) -> None:
        """Wait until it has processed a first CSV."""
        for _ in range(100):
            try:
                await self.images_per_second([[f"{origin_url}/warm-up/{number}.jpg" for number in range(20)]])
            except httpx.TransportError:
                await asyncio.sleep(0.2)  # Flask and Celery give no other sign of readiness
            else:
                return
        raise SystemExit("Flask and Celery did not start")

    async def images_per_second(self, catalogues: Sequence[Sequence[str]]) -> float:
        """Measure images per second from the first POST to the last webhook."""
        async with webhooks() as listener:
            started, accepted = perf_counter(), []
            for urls in catalogues:
                answer = await self._client.post(
                    "/upload", files={"file": ("b.csv", manifest(urls))}, data={"webhook_url": listener.url}
                )
                accepted.append(answer.raise_for_status().json()["request_id"])
            for request_id in accepted:
                await listener.wait_for(request_id)
            return sum(map(len, catalogues)) / (perf_counter() - started)

"""What others do with the same catalogue: img2dataset, and the brief as Flask and Celery.

Each runs in a virtual environment of its own (environments.py).
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

from imgsvc.adapters.redis.embedded_valkey import answers, valkey_command
from processes import HERE, free_port, manifest, webhooks

IMG2DATASET = ("img2dataset==1.47.0",)
BRIEF = ("flask==3.1.3", "celery[redis]==5.7.0", "packaging", "requests==2.34.2", "pillow==13.0.0")


async def img2dataset(python: Path, urls: Sequence[str]) -> tuple[float, float]:
    """Images a second: from the first to the last tenth of its files, and with its start-up."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        listed, output = Path(folder, "urls.txt"), Path(folder, "output")
        await asyncio.to_thread(listed.write_text, "\n".join(urls))
        options = {
            "url_list": listed, "input_format": "txt", "output_folder": output, "output_format": "files",
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
    """When each JPEG of the folder was written, in order."""
    return sorted(path.stat().st_mtime for path in folder.rglob("*.jpg"))


@asynccontextmanager
async def brief(python: Path) -> AsyncIterator["Brief"]:
    """Flask, Celery with a process for each core, and a broker."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        socket, port = Path(folder, "broker.sock"), free_port()
        broker = f"redis+socket://{socket}"
        env = {**os.environ, "BRIEF_FOLDER": folder, "BRIEF_BROKER": broker, "PYTHONPATH": str(HERE / "elsewhere")}
        celery = ("celery", "-A", "brief:celery", "worker", "-c", str(os.cpu_count()), "-l", "ERROR")
        processes: list[asyncio.subprocess.Process] = []
        try:
            processes.append(await asyncio.create_subprocess_exec(*valkey_command(socket, log=Path(folder, "log"))))
            await _up(socket)
            for words in (("flask", "--app", "brief", "run", "--port", str(port)), celery):
                command = (str(python), "-m", *words)
                process = await asyncio.create_subprocess_exec(*command, env=env, stdout=DEVNULL, stderr=DEVNULL)
                processes.append(process)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                yield Brief(client)
        finally:
            for process in reversed(processes):
                process.terminate()
                await process.wait()


async def _up(socket: Path) -> None:
    for _ in range(100):
        if await answers(socket):
            return
        await asyncio.sleep(0.1)  # a process of another's makes no other sign that it is up
    raise SystemExit("the broker did not come up")


class Brief:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ready(self, origin_url: str) -> None:
        """It has worked off a first CSV."""
        for _ in range(100):
            try:
                await self.images_per_second([[f"{origin_url}/warm-up/{number}.jpg" for number in range(20)]])
            except httpx.TransportError:
                await asyncio.sleep(0.2)  # Flask and Celery make no other sign that they are up
            else:
                return
        raise SystemExit("Flask and Celery did not come up")

    async def images_per_second(self, catalogues: Sequence[Sequence[str]]) -> float:
        """From the first POST to the last webhook."""
        async with webhooks() as listener:
            started, accepted = perf_counter(), []
            for urls in catalogues:
                answer = await self._client.post(
                    "/upload", files={"file": ("b.csv", manifest(urls))}, data={"webhook_url": listener.url}
                )
                accepted.append(answer.raise_for_status().json()["request_id"])
            for request_id in accepted:
                await listener.arrived(request_id)
            return sum(map(len, catalogues)) / (perf_counter() - started)

"""The service and an origin as processes of their own, for the benchmarks."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

SERVICE_PORT = 18_998


@asynccontextmanager
async def origin(latency: float, folder: str) -> AsyncIterator[int]:
    """An origin process; gives its port."""
    port = 18_000 + int(latency * 1000)
    script = str(Path(__file__).with_name("origin.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, str(port), str(latency), folder, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield port
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def service(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """`imgsvc up` as users start it, on a fresh data folder."""
    with tempfile.TemporaryDirectory(prefix="imgsvc-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgsvc", "up", "--port", str(port), "--data-dir", folder),
            env={**os.environ, "IMGSVC_ALLOWED_NETWORKS": "127.0.0.0/8", "IMGSVC_LOG_LEVEL": "WARNING"},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                await ready(client)
                yield client
        finally:
            process.terminate()
            await process.wait()


async def ready(client: httpx.AsyncClient) -> None:
    for _ in range(300):
        try:
            if (await client.get("/readyz", params={"strict": "true"})).is_success:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("imgsvc up did not come up")

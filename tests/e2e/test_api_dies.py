"""The API process is killed while it receives an upload or sends a report."""

import asyncio
import socket
import sqlite3
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from support.origin_server import OriginServer, image_bytes
from support.served import SMALL_BUFFER
from support.stack import Stack, until

pytestmark = pytest.mark.slow

ROWS = 30_000
NOTE = "n" * 400
"""Text in each row: it makes the report larger than the socket buffers, whose content would outlive the process."""


def api_of(stack: Stack) -> psutil.Process:
    [process] = stack.children("api")
    return process


async def wait_for_restart(stack: Stack, killed: psutil.Process) -> None:
    """Wait until the supervisor has started another API process."""

    async def responds() -> bool:
        if not [child for child in stack.children("api") if child.pid != killed.pid]:
            return False
        return (await stack.client.get("/healthz")).is_success

    await until(responds)


def raw_connection(stack: Stack) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = urlsplit(str(stack.client.base_url)).port
    return asyncio.open_connection("127.0.0.1", port)


def batches_in(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "imgsvc.db")) as database:
        return int(database.execute("SELECT count(*) FROM batch").fetchone()[0])


def manifest_of(url: str, rows: int) -> str:
    return "S. No.,Product Name,Input Image Urls\n" + "".join(f"{row},Product {row},{url}\n" for row in range(rows))


async def test_an_upload_cut_off_by_a_kill_stores_nothing_and_a_retry_makes_one_batch(
    own_stack: Stack, tmp_path: Path, origin: OriginServer
) -> None:
    manifest = manifest_of(origin.serve("/1.jpg", image_bytes()), 1_000).encode()
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: imgsvc\r\nContent-Type: text/csv\r\nIdempotency-Key: mine\r\n"
        f"Content-Length: {len(manifest)}\r\nExpect: 100-continue\r\n\r\n"
    )
    reader, writer = await raw_connection(own_stack)
    writer.write(head.encode())
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"  # this process has accepted the connection
    writer.write(manifest[: len(manifest) // 2])
    await writer.drain()
    killed = api_of(own_stack)
    killed.kill()
    assert (await read_all(reader)).strip() == b""
    writer.close()
    await wait_for_restart(own_stack, killed)
    assert batches_in(own_stack.folder) == 0

    headers = {"Content-Type": "text/csv", "Idempotency-Key": "mine"}
    answers = [await own_stack.client.post("/v1/batches", content=manifest, headers=headers) for _ in range(2)]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    [batch_id] = {answer.json()["id"] for answer in answers}
    assert (await own_stack.finished(batch_id))["status"] == "completed"
    assert batches_in(own_stack.folder) == 1


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_download_cut_off_by_a_kill_fails_and_the_next_one_is_complete(
    own_stack: Stack, origin: OriginServer
) -> None:
    url = origin.serve("/1.jpg", image_bytes())
    lines = [f"{row},Product {row},{url},{NOTE}" for row in range(ROWS)]
    batch_id = await own_stack.upload("\n".join(["S. No.,Product Name,Input Image Urls,Note", *lines]))
    await own_stack.finished(batch_id)
    path = f"/v1/batches/{batch_id}/output.csv"
    killed = api_of(own_stack)
    small = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)])
    async with httpx.AsyncClient(base_url=own_stack.client.base_url, transport=small, timeout=100) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            async with client.stream("GET", path) as answer:
                chunks = answer.aiter_raw(1_000)
                await anext(chunks)
                killed.kill()
                async for _ in chunks:
                    pass
    await wait_for_restart(own_stack, killed)
    report = await own_stack.client.get(path)
    assert report.text.count("\r\n") == ROWS + 1

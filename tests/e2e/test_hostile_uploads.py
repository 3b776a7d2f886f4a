"""Fifty uploads at one time, half of them made to break the API: the good ones end right, and nothing is left open."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import psutil
import pytest

from support.origin_server import OriginServer, image_bytes
from support.stack import Stack, running_stack, until

pytestmark = pytest.mark.slow

MIB = 2**20
SIZE = 8 * MIB
MOST_MEMORY = 1_000 * MIB
GOOD = 25
IMAGES = 12
HEADER = b"S. No.,Product Name,Input Image Urls\n"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
FILE = PART % (b"file", b'; filename="a.csv"')

# What is sent before, what is repeated until it is large, and the media type.
HOSTILE: dict[str, tuple[bytes, bytes, str]] = {
    "a header of millions of columns": (b"S. No.,Product Name,Input Image Urls", b",column", "text/csv"),
    "a row of millions of cells": (HEADER + b"1,a,https://shop.example/a.jpg", b",", "text/csv"),
    "a cell without end": (HEADER + b"1,", b"a", "text/csv"),
    "a quotation mark that is never closed": (HEADER + b'1,"', b"a,\n", "text/csv"),
    "quotation marks": (HEADER + b"1,", b'"', "text/csv"),
    "rows of quotation marks": (HEADER, b'1,"a"b"c"d"\n', "text/csv"),
    "empty lines": (HEADER, b"\n", "text/csv"),
    "short rows": (HEADER, b"1,a,b\n", "text/csv"),
    "addresses in one cell": (HEADER + b"1,a,", b"https://shop.example/a.jpg ", "text/csv"),
    "zero bytes": (HEADER, b"\0", "text/csv"),
    "a workbook": (b"PK\x03\x04", b"\x14\0\x08\x08", "text/csv"),
    "random text in UTF-16": (b"\xff\xfe", b"a\x01", "text/csv"),
    "a form whose part has a header without end": (b"--x\r\nContent-Disposition: form-data; ", b"a", FORM),
    "a form of headers": (b"--x\r\n", b"X-A: b\r\n", FORM),
    "a form of fields": (b"", PART % (b"a", b"") + b"b\r\n", FORM),
    "a form of files": (b"", FILE + b"b\r\n", FORM),
    "a field without end": (PART % (b"metadata", b""), b"[", FORM),
    "a form without a boundary": (FILE + HEADER, b"1,a,https://shop.example/a.jpg\n", FORM),
    "a form in a form": (FILE, b"--y\r\n\r\n", FORM),
    "JSON": (b"", b"[", "application/json"),
}


def pieces(start: bytes, again: bytes, size: int) -> Iterable[bytes]:
    yield start
    block = again * (2**16 // len(again))
    for _ in range(size // len(block)):
        yield block


async def body(start: bytes, again: bytes, size: int = SIZE) -> AsyncIterator[bytes]:
    for piece in pieces(start, again, size):
        yield piece


async def attack(client: httpx.AsyncClient, start: bytes, again: bytes, media_type: str) -> int:
    """The status of the refusal; 0 when the API hung up while it was still being sent to."""
    headers = {"Content-Type": media_type, "Connection": "close"}
    try:
        return (await client.post("/v1/batches", content=body(start, again), headers=headers)).status_code
    except httpx.TransportError:
        return 0


async def hang_up(client: httpx.AsyncClient) -> None:
    """In the middle of an upload."""

    async def broken() -> AsyncIterator[bytes]:
        for piece in pieces(HEADER, b"1,a,https://shop.example/a.jpg\n", 4 * MIB):
            yield piece
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await client.post("/v1/batches", content=broken(), headers={"Content-Type": "text/csv"})


class Watch:
    """The most memory that all processes of a stack had together."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.memory = 0

    async def run(self) -> None:
        while True:
            processes = [psutil.Process(self.stack.process.pid), *self.stack.children()]
            self.memory = max(self.memory, sum(process.memory_info().rss for process in processes))
            await asyncio.sleep(0.05)


def descriptors(stack: Stack) -> int:
    """Of API and worker, without those of the pools, which grow up to their size: of the database and of Redis."""
    processes = [*stack.children("api"), *stack.workers()]
    files = [file.path for process in processes for file in process.open_files()]
    to_redis = sum(len(process.net_connections("unix")) for process in processes)
    return sum(int(process.num_fds()) for process in processes) - sum("imgsvc.db" in path for path in files) - to_redis


def catalogue(origin: OriginServer, number: int) -> str:
    urls = [origin.url(f"/{number}-{image}.jpg") for image in range(IMAGES)]
    return HEADER.decode() + "".join(f"{row},Shoe {row},{url}\n" for row, url in enumerate(urls))


@pytest.mark.timeout(300)
async def test_good_and_hostile_uploads_together(tmp_path: Path) -> None:
    async with OriginServer() as origin, running_stack(tmp_path) as stack:
        for number in range(GOOD + 1):
            for image in range(IMAGES):
                origin.serve(f"/{number}-{image}.jpg", image_bytes(300, 200 + number), headers={"Connection": "close"})
        assert (await stack.finished(await stack.upload(catalogue(origin, GOOD))))["status"] == "completed"
        before = descriptors(stack)

        watch = Watch(stack)
        watching = asyncio.create_task(watch.run())
        async with httpx.AsyncClient(base_url=stack.client.base_url, timeout=240, trust_env=False) as attacker:
            outcomes = asyncio.gather(
                *(attack(attacker, *shape) for shape in HOSTILE.values()), *(hang_up(attacker) for _ in range(5))
            )
            batches = await asyncio.gather(*(stack.upload(catalogue(origin, number)) for number in range(GOOD)))
            ends = await asyncio.gather(*(stack.finished(batch, within=200) for batch in batches))
            statuses = (await outcomes)[: len(HOSTILE)]
        watching.cancel()
        told = dict(zip(HOSTILE, statuses, strict=True))
        assert {status for status in told.values() if status} <= {400, 413, 415, 422}, told
        assert [end["counts"]["assets"]["succeeded"] for end in ends] == [IMAGES] * GOOD
        assert watch.memory < MOST_MEMORY

        async def as_before() -> bool:
            """And ready; with a request the client gives up the connections that it did not use lately."""
            return (await stack.client.get("/readyz?strict=true")).is_success and descriptors(stack) <= before

        await until(as_before)

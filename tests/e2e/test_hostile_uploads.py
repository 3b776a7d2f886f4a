"""Fifty concurrent uploads, half of them hostile: the good ones complete, and no file or connection stays open."""

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
MAX_MEMORY = 1_000 * MIB
GOOD = 25
IMAGES = 12
HEADER = b"S. No.,Product Name,Input Image Urls\n"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
FILE = PART % (b"file", b'; filename="a.csv"')

# The beginning, the part that is repeated until the body is large, and the media type.
HOSTILE: dict[str, tuple[bytes, bytes, str]] = {
    "a header of millions of columns": (b"S. No.,Product Name,Input Image Urls", b",column", "text/csv"),
    "a row of millions of cells": (HEADER + b"1,a,https://shop.example/a.jpg", b",", "text/csv"),
    "an endless cell": (HEADER + b"1,", b"a", "text/csv"),
    "an unclosed quotation mark": (HEADER + b'1,"', b"a,\n", "text/csv"),
    "quotation marks": (HEADER + b"1,", b'"', "text/csv"),
    "rows of quotation marks": (HEADER, b'1,"a"b"c"d"\n', "text/csv"),
    "empty lines": (HEADER, b"\n", "text/csv"),
    "short rows": (HEADER, b"1,a,b\n", "text/csv"),
    "addresses in one cell": (HEADER + b"1,a,", b"https://shop.example/a.jpg ", "text/csv"),
    "zero bytes": (HEADER, b"\0", "text/csv"),
    "a workbook": (b"PK\x03\x04", b"\x14\0\x08\x08", "text/csv"),
    "random text in UTF-16": (b"\xff\xfe", b"a\x01", "text/csv"),
    "a form with an endless part header": (b"--x\r\nContent-Disposition: form-data; ", b"a", FORM),
    "a form of headers": (b"--x\r\n", b"X-A: b\r\n", FORM),
    "a form of fields": (b"", PART % (b"a", b"") + b"b\r\n", FORM),
    "a form of files": (b"", FILE + b"b\r\n", FORM),
    "an endless field": (PART % (b"metadata", b""), b"[", FORM),
    "a form without a boundary": (FILE + HEADER, b"1,a,https://shop.example/a.jpg\n", FORM),
    "a form in a form": (FILE, b"--y\r\n\r\n", FORM),
    "JSON": (b"", b"[", "application/json"),
}


def chunks(start: bytes, repeated: bytes, size: int) -> Iterable[bytes]:
    yield start
    block = repeated * (2**16 // len(repeated))
    for _ in range(size // len(block)):
        yield block


async def body(start: bytes, repeated: bytes, size: int = SIZE) -> AsyncIterator[bytes]:
    for chunk in chunks(start, repeated, size):
        yield chunk


async def attack(client: httpx.AsyncClient, start: bytes, repeated: bytes, media_type: str) -> int:
    """Send a hostile upload and return the status of the refusal; 0 if the API closed the connection while sending."""
    headers = {"Content-Type": media_type, "Connection": "close"}
    try:
        return (await client.post("/v1/batches", content=body(start, repeated), headers=headers)).status_code
    except httpx.TransportError:
        return 0


async def hang_up(client: httpx.AsyncClient) -> None:
    """Close the connection in the middle of an upload."""

    async def broken() -> AsyncIterator[bytes]:
        for chunk in chunks(HEADER, b"1,a,https://shop.example/a.jpg\n", 4 * MIB):
            yield chunk
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await client.post("/v1/batches", content=broken(), headers={"Content-Type": "text/csv"})


class MemoryWatch:
    """The peak memory of all processes of a stack together."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.peak = 0

    async def run(self) -> None:
        while True:
            processes = [psutil.Process(self.stack.process.pid), *self.stack.children()]
            self.peak = max(self.peak, sum(process.memory_info().rss for process in processes))
            await asyncio.sleep(0.05)


def descriptors(stack: Stack) -> int:
    """Count the descriptors of API and worker, except those of the database and Redis pools, which may still grow."""
    processes = [*stack.children("api"), *stack.workers()]
    files = [file.path for process in processes for file in process.open_files()]
    to_redis = sum(len(process.net_connections("unix")) for process in processes)
    return sum(int(process.num_fds()) for process in processes) - sum("imgsvc.db" in path for path in files) - to_redis


def catalogue(origin: OriginServer, number: int) -> str:
    urls = [origin.url(f"/{number}-{image}.jpg") for image in range(IMAGES)]
    return HEADER.decode() + "".join(f"{row},Shoe {row},{url}\n" for row, url in enumerate(urls))


@pytest.mark.timeout(300)
async def test_good_uploads_complete_while_hostile_ones_are_refused(tmp_path: Path) -> None:
    async with OriginServer() as origin, running_stack(tmp_path) as stack:
        for number in range(GOOD + 1):
            for image in range(IMAGES):
                origin.serve(f"/{number}-{image}.jpg", image_bytes(300, 200 + number), headers={"Connection": "close"})
        assert (await stack.finished(await stack.upload(catalogue(origin, GOOD))))["status"] == "completed"
        before = descriptors(stack)

        watch = MemoryWatch(stack)
        watching = asyncio.create_task(watch.run())
        async with httpx.AsyncClient(base_url=stack.client.base_url, timeout=240, trust_env=False) as attacker:
            outcomes = asyncio.gather(
                *(attack(attacker, *shape) for shape in HOSTILE.values()), *(hang_up(attacker) for _ in range(5))
            )
            batches = await asyncio.gather(*(stack.upload(catalogue(origin, number)) for number in range(GOOD)))
            ends = await asyncio.gather(*(stack.finished(batch, within=200) for batch in batches))
            statuses = (await outcomes)[: len(HOSTILE)]
        watching.cancel()
        results = dict(zip(HOSTILE, statuses, strict=True))
        assert {status for status in results.values() if status} <= {400, 413, 415, 422}, results
        assert [end["counts"]["assets"]["succeeded"] for end in ends] == [IMAGES] * GOOD
        assert watch.peak < MAX_MEMORY

        async def as_before() -> bool:
            """The request also makes the client close its idle connections."""
            return (await stack.client.get("/readyz?strict=true")).is_success and descriptors(stack) <= before

        await until(as_before)

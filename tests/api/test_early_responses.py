"""A response before the end of the body: the client receives it, and the rest of the body is not read forever."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import problem
from support.served import served

pytestmark = pytest.mark.slow

MIB = 2**20
MAX_ACCEPTED = 24 * MIB
"""The bytes that the server discards, and those in the kernel's buffers of both sides."""


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


def head(path: str = "/v1/batches", *, host: str = "127.0.0.1", length: str | None = None, **more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}"]
    lines.append(f"Content-Length: {length}" if length else "Transfer-Encoding: chunked")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


ENDLESS = str(10**15)
EARLY = {
    "401": head(Content_Type="text/csv"),
    "403": head(Content_Type="text/csv", host="elsewhere.example"),
    "404": head("/nothing"),
    "405": head("/healthz"),
    "413": head(length=ENDLESS, Content_Type="text/csv"),
    "413 during the body": head(Content_Type="text/csv"),
    "413 during a JSON body": head("/v1/webhooks/test", Content_Type="application/json"),
    "415": head(Content_Type="image/png"),
    "400": head(Content_Type="multipart/form-data; boundary=x"),
    "400 of a form without a boundary": head(Content_Type="multipart/form-data"),
}


def send_without_end(address: tuple[str, int], request: bytes) -> tuple[bytes, int]:
    """Send up to 200 MiB; return the response, and the number of bytes that the server accepted."""
    is_chunked = b"chunked" in request
    chunk = bytes(64 * 1024)
    chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk
    sent = 0
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(request)
        with suppress(ConnectionError):
            while sent < 200 * MIB:
                sent += connection.send(chunk)
        with suppress(ConnectionError):
            return connection.recv(64 * 1024), sent
    return b"", sent


@pytest.mark.parametrize("refusal", EARLY)
async def test_a_client_that_never_stops_sending_is_disconnected(settings: Settings, refusal: str) -> None:
    changed = {"max_upload_bytes": MIB, "host": "192.0.2.1" if refusal == "401" else settings.host}  # needs a key
    async with served(settings.model_copy(update=changed)) as client:
        address = ("127.0.0.1", client.base_url.port or 0)
        answer, sent = await asyncio.to_thread(send_without_end, address, EARLY[refusal])
        assert answer.split()[1].decode() == refusal.split(maxsplit=1)[0]
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert sent < MAX_ACCEPTED
        assert (await client.get("/healthz")).is_success


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
async def test_a_client_that_sends_everything_before_it_reads_gets_the_413(settings: Settings, chunked: bool) -> None:
    """The client is httpx, without and with an event loop."""
    body = bytes(70 * MIB)

    def chunks() -> Iterator[bytes]:
        yield from (body[start : start + MIB] for start in range(0, len(body), MIB))

    async def async_chunks() -> AsyncIterator[bytes]:
        for chunk in chunks():
            yield chunk

    headers = {"Content-Type": "text/csv"}
    async with served(settings) as client:
        url = f"{client.base_url}/v1/batches"
        refusals = [
            await client.post(url, content=async_chunks() if chunked else body, headers=headers),
            await asyncio.to_thread(
                httpx.post, url, content=chunks() if chunked else body, headers=headers, timeout=60
            ),
        ]
    for refusal in refusals:
        problem(refusal, 413, "upload-too-large")


async def test_curl_sends_nothing_of_a_body_that_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Curl sends `Expect: 100-continue`, and gets the error at once instead of a 100."""
    (tmp_path / "large.csv").write_bytes(bytes(70 * MIB))
    async with served(settings) as client:
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--noproxy", "*", "-H", "Content-Type: text/csv", "-H", "Expect: 100-continue"),
            *("--data-binary", f"@{tmp_path}/large.csv", "-w", "\n%{http_code} %{size_upload}"),
            f"{client.base_url}/v1/batches",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    document, _, figures = out.decode().rpartition("\n")
    assert json.loads(document)["type"] == "urn:imgsvc:problem:upload-too-large"
    assert figures == "413 0"


async def test_a_refused_request_that_was_read_completely_keeps_the_connection(settings: Settings) -> None:
    async with served(settings) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        for _ in range(2):
            writer.write(head("/nothing", length="2") + b"{}")
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"connection: close" not in answer.lower()
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()


async def test_a_protocol_error_after_an_early_response_closes_the_connection_quietly(settings: Settings) -> None:
    broken: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    async with served(settings) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(head("/nothing"))
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
        writer.write(b"no length of a chunk\r\n")
        rest = await reader.read()
        assert b"400 Bad Request" not in rest
        writer.close()
    assert broken == []

"""More connections than descriptors: new clients can connect, and no request in progress is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, upload
from support.limited_api import DESCRIPTORS, limited_api

pytestmark = pytest.mark.slow


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


IDLE = {
    "that never sent a byte": b"",
    "in the middle of their headers": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    "that announce a body and send none": (
        b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\nContent-Length: 99\r\n\r\n"
    ),
    "that were answered": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("sending", IDLE.values(), ids=IDLE)
async def test_new_clients_connect_despite_more_idle_connections_than_descriptors(
    settings: Settings, sending: bytes
) -> None:
    async with limited_api(settings) as api:
        with ExitStack() as held:
            await asyncio.to_thread(api.hold_open, held, count=2 * DESCRIPTORS, sending=sending)
            async with api.client() as client:
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.post("/v1/batches", content=ONE_ROW, headers=CSV)).status_code == 202
        assert await api.answers(), "and when the idle ones are closed"


async def test_requests_in_progress_survive_more_connections_than_descriptors(settings: Settings) -> None:
    """The requests are an upload, a long poll and a stream of events."""
    resume = asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield ONE_ROW.encode()
        await resume.wait()
        yield b"2,Hat,https://shop.example/b.jpg\n"

    async with limited_api(settings) as api, api.client() as client:
        batch = f"/v1/batches/{(await upload(client, ONE_ROW))['id']}"
        uploading = asyncio.create_task(client.post("/v1/batches", content=slow_body(), headers=CSV))
        polling = asyncio.create_task(client.get(batch, params={"wait": 30}))
        async with client.stream("GET", f"{batch}/events") as events:
            lines = events.aiter_lines()
            await anext(lines)
            with ExitStack() as held:
                await asyncio.to_thread(api.hold_open, held, count=2 * DESCRIPTORS)
                assert await api.answers()
                resume.set()
                assert (await uploading).status_code == 202
                async with api.client() as another:
                    assert (await another.post(f"{batch}/cancel")).is_success
                assert (await polling).json()["status"] == "cancelled"
                assert "event: end" in [line async for line in lines]


WITHOUT_DESCRIPTORS = """
import os, sys, threading
from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.settings.server import Settings
from imgsvc.process.listen_socket import inherited
from imgsvc.logs import configure_logging

def take_and_give_back():
    taken = []
    for line in sys.stdin:
        try:
            while line == "take\\n":
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        while line == "give back\\n" and taken:
            os.close(taken.pop())
        print("done", flush=True)

configure_logging("INFO")
threading.Thread(target=take_and_give_back, daemon=True).start()
Server(create_app(Settings()), drain=1).run(sockets=[inherited(int(sys.argv[1]))])
"""


async def test_a_process_without_a_descriptor_accepts_again_when_it_has_one(settings: Settings) -> None:
    async with limited_api(settings, command=("-c", WITHOUT_DESCRIPTORS)) as api:
        stdin, stdout, stderr = api.process.stdin, api.process.stdout, api.process.stderr
        assert stdin and stdout and stderr
        for count in (8, 24, 60):  # increasing: the connections of the previous round release their descriptors late
            stdin.write(b"take\n")
            assert await stdout.readline() == b"done\n"
            with ExitStack() as held:
                await asyncio.to_thread(api.hold_open, held, count=count)
                waiting = asyncio.create_task(api.answers())
                while b"accept_failed" not in (line := await stderr.readline()):
                    assert line, "the process has ended"
                stdin.write(b"give back\n")
                assert await stdout.readline() == b"done\n"
                assert await waiting

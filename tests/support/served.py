"""The API on a real socket in the test's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.settings.server import Settings
from support.stack import until

SMALL_BUFFER = 32 * 1024
"""Bytes of socket buffers on each side, so that the server has to wait for a client that does not read."""


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a server with small socket buffers; both end with the block."""
    async with server_and_client(settings) as (_, client):
        yield client


@asynccontextmanager
async def server_and_client(settings: Settings) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """Yield the server as well as its client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        server = Server(create_app(settings), drain=5)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        transport = httpx.AsyncHTTPTransport(
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)],
            limits=httpx.Limits(max_connections=None),
        )
        base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=base_url, transport=transport, timeout=60) as client:
                await until(lambda: _is_alive(client))
                yield server, client
        finally:
            server.should_exit = True
            await serving


async def _is_alive(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False

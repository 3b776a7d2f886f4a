"""Connections of the HTTP server: keep-alive, and stalled requests."""

import socket
from time import monotonic

import pytest

from imgsvc.api.app import create_app
from imgsvc.api.connections.http_connection import HttpConnection
from imgsvc.api.connections.table import BODY_TIMEOUT, STALL_TIMEOUT
from imgsvc.api.server import Server
from imgsvc.settings.server import Settings
from support.api_calls import ONE_ROW, upload
from support.served import server_and_client
from support.stack import until


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


def test_an_idle_connection_is_kept_for_longer_than_clients_and_proxies_keep_it(settings: Settings) -> None:
    assert Server(create_app(settings), drain=1).config.timeout_keep_alive > 60


def connection_from(server: Server, client: socket.socket) -> HttpConnection | None:
    """Return the server's side of the connection."""
    for connection in server.server_state.connections:
        if isinstance(connection, HttpConnection) and connection.client == client.getsockname():
            return connection
    return None


PART_OF_A_BODY = (
    b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\nContent-Length: 99\r\n\r\nS."
)
LARGE_RESPONSE = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("sending", "within"),
    [(PART_OF_A_BODY[:-2], BODY_TIMEOUT), (PART_OF_A_BODY, STALL_TIMEOUT), (LARGE_RESPONSE, STALL_TIMEOUT)],
    ids=["sends no body", "stops sending the body", "stops reading the response"],
)
async def test_a_request_is_stalled_after_its_client_was_silent_for_long(
    settings: Settings, sending: bytes, within: float
) -> None:
    async with server_and_client(settings) as (server, http):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((http.base_url.host, http.base_url.port))
            client.sendall(sending)

            async def will_have_stalled() -> bool:
                connection = connection_from(server, client)
                return bool(connection and connection.cycle and connection.is_stalled(monotonic() + within))

            await until(will_have_stalled)
            connection = connection_from(server, client)
            assert connection
            assert not connection.is_stalled(connection.request_started_at)


async def test_a_stream_of_events_never_stalls(settings: Settings) -> None:
    async with server_and_client(settings) as (server, http):
        batch = await upload(http, ONE_ROW)
        with socket.create_connection((http.base_url.host, http.base_url.port)) as listening:
            request = f"GET /v1/batches/{batch['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            listening.sendall(request.encode())

            async def is_stream() -> bool:
                connection = connection_from(server, listening)
                return bool(connection and connection.is_stream)

            await until(is_stream)
            connection = connection_from(server, listening)
            assert connection
            assert not connection.is_stalled(monotonic() + 10 * STALL_TIMEOUT)

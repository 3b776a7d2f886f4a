"""The HTTP server; when asked to stop, it first answers every request that has reached it."""

import asyncio
import socket
from time import monotonic

import uvicorn
from fastapi import FastAPI

from imgsvc.api.connections.acceptor import Acceptor
from imgsvc.api.connections.http_connection import HttpConnection
from imgsvc.api.connections.table import ConnectionTable, max_connections
from imgsvc.api.live.watcher import Watcher
from imgsvc.process import descriptors

MAX_HEADERS = 2**16
"""Bytes of a request line and its headers."""
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than clients (httpx 5) and proxies (nginx and load balancers 60) keep
it, because the side that closes first may do so just when the other one sends a request. uvicorn's default, 5, collided
with httpx's."""
MIN_DRAIN = 0.3
DRAIN_TIMEOUT = 3.0
"""Seconds, at least and at most, in which a first request may arrive on a connection that was just accepted. uvicorn
alone closes those connections, which cost 6 of 145 clients their response over ten restarts. Clients that connect later
wait for the next process."""


class Server(uvicorn.Server):
    """uvicorn, with a drain period before it closes connections."""

    def __init__(self, app: FastAPI, *, drain: float) -> None:
        """Give requests in progress `drain` seconds to finish."""
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                server_header=False,
                http="h11",  # httptools accepts headers of any size
                h11_max_incomplete_event_size=MAX_HEADERS,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=int(drain) or 1,
            )
        )
        self._app = app
        self._table = ConnectionTable(max_connections(descriptors.limit()))
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections on `sockets`."""
        await super().startup(sockets=[])
        self._acceptors = [Acceptor(sock, table=self._table, protocol=self._connection) for sock in sockets or []]
        for acceptor in self._acceptors:
            acceptor.open()

    def _connection(self) -> HttpConnection:
        return HttpConnection(self.config, self.server_state, self.lifespan.state, table=self._table)

    async def on_tick(self, counter: int) -> bool:
        """Expire idle connections once a second; uvicorn calls this ten times a second."""
        if counter % 10 == 0:
            self._table.expire(KEEP_ALIVE)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        watcher: Watcher = self._app.state.watcher
        await watcher.close()
        deadline = monotonic() + DRAIN_TIMEOUT
        await asyncio.sleep(MIN_DRAIN)
        while self._has_new_connection() and monotonic() < deadline:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    def _has_new_connection(self) -> bool:
        """Check for a connection on which no request has arrived yet."""
        return any(getattr(connection, "cycle", self) is None for connection in self.server_state.connections)

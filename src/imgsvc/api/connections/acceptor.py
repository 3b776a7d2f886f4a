"""Accepting connections, which goes on whatever becomes of one of them."""

import asyncio
import socket
from collections.abc import Callable

from imgsvc.api.connections.table import ConnectionTable
from imgsvc.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.1
"""Seconds until the next attempt when there is no room or no descriptor; clients wait in the kernel's queue."""


class Acceptor:
    """Accepts the connections of one listening socket.

    An event loop's own server gives the listening socket up when a process has no descriptor left (uvloop), or asks a
    hundred times in a row (asyncio). This one drops a connection that is missed less, and tries again in a moment.
    """

    def __init__(
        self, listener: socket.socket, *, table: ConnectionTable, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._table = table
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[object]] = set()
        self._is_failing = False

    def open(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; connections that are open stay so."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        """Take one connection: the loop calls again while there are more."""
        if not self._table.make_room():
            self._pause()
            return
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor, no memory, or a network fault that accept reports
            self._table.drop_one()
            if not self._is_failing:
                log.warning("accept_failed", error=str(error))
            self._is_failing = True
            self._pause()
            return
        self._is_failing = False
        connection.setblocking(False)
        beginning: asyncio.Task[object] = self._loop.create_task(self._begin(connection))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # the client has gone again
            log.debug("connection_lost", error=str(error))
            connection.close()

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._retry = self._loop.call_later(PAUSE, self.open)

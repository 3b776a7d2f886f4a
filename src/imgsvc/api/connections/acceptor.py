"""Accepts connections, and continues when one of them fails."""

import asyncio
import socket
from collections.abc import Callable

from imgsvc.api.connections.table import ConnectionTable
from imgsvc.logs import get_logger

log = get_logger(__name__)

RETRY_DELAY = 0.1
"""Seconds until the next attempt when the table or the descriptors are full; clients wait in the kernel's queue."""


class Acceptor:
    """Accepts the connections of one listening socket.

    When a process is out of descriptors, uvloop's own server closes the listening socket and asyncio's calls accept a
    hundred times in a row. This one drops the connection that is needed least, and retries after `RETRY_DELAY`.
    """

    def __init__(
        self, listener: socket.socket, *, table: ConnectionTable, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._table = table
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[object]] = set()
        self._is_failing = False

    def open(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting; open connections stay open."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        """Accept one connection; the loop calls again while more are waiting."""
        if not self._table.free_slot():
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
        task: asyncio.Task[object] = self._loop.create_task(self._start(connection))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # the client has already disconnected
            log.debug("connection_lost", error=str(error))
            connection.close()

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._retry = self._loop.call_later(RETRY_DELAY, self.open)

"""The open connections of the API, their limit, and the choice of the one to close for a new client."""

from time import monotonic
from typing import Protocol

from imgsvc.logs import get_logger

log = get_logger(__name__)

RESERVED = 96
"""Descriptors for everything except connections: the database (20 connections to Postgres, or 16 to SQLite with up to
three files each), Redis, object storage, the listening socket, the event loop, and those Python itself has open."""
MAX_CONNECTIONS = 4_096
"""Upper bound, however many descriptors are available: each connection may hold 64 KiB of headers in memory."""
MIN_CONNECTIONS = 16
STALL_TIMEOUT = 10.0
"""Seconds without a byte from or to the client, after which its request may be dropped for another client."""
BODY_TIMEOUT = 1.0
"""Seconds until the first byte of a body; clients send it right after the headers."""
MIN_BODY_RATE = 200
"""Bytes per second below which a body counts as stalled, after its first `STALL_TIMEOUT` seconds."""
LOG_INTERVAL = 60.0


def max_connections(descriptors: int) -> int:
    """Return the connections that `descriptors` allow; each may need a second one, for a file it sends or receives."""
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, (descriptors - RESERVED) // 2))


class Connection(Protocol):
    """A connection as the table needs it."""

    @property
    def is_flushed(self) -> bool:
        """True if everything written has been handed to the kernel."""

    @property
    def is_stream(self) -> bool:
        """True if the response is a stream of events, which the client resumes after an interruption."""

    def is_stalled(self, now: float) -> bool:
        """Check for a request in progress whose client has been silent, or too slow, for long."""

    def is_sending_headers(self, now: float) -> bool:
        """Check for request headers that are partly received, the first of them recently."""

    def drop(self) -> None:
        """Close the connection at once."""


class ConnectionTable:
    """The open connections: idle ones ordered by when they became idle, busy ones by when their request began."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle: dict[Connection, float] = {}
        self._busy: dict[Connection, None] = {}
        self._dropped = 0
        self._logged = float("-inf")

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def is_idle(self, connection: Connection) -> bool:
        return connection in self._idle

    def set_idle(self, connection: Connection) -> None:
        """Record a new connection, or one whose last request has been answered."""
        self.forget(connection)
        self._idle[connection] = monotonic()

    def set_busy(self, connection: Connection) -> None:
        """Record that a request has arrived on the connection, with all its headers."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy[connection] = None

    def forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)

    def free_slot(self) -> bool:
        """Make space for one more connection, by `drop_one` if necessary; return False if none can be dropped."""
        return len(self) < self._limit or self.drop_one()

    def drop_one(self) -> bool:
        """Close the connection that is needed least; return False if every one has a request that makes progress.

        Idle connections go first, the longest idle before the others; then requests whose client has stalled; then the
        oldest stream of events.
        """
        victim = self._least_needed(monotonic())
        if victim is None:
            return False
        self.forget(victim)
        victim.drop()
        self._log_drop()
        return True

    def _least_needed(self, now: float) -> Connection | None:
        for connection, since in self._idle.items():
            if connection.is_flushed or now - since > STALL_TIMEOUT:
                return connection
        stalled = next((connection for connection in self._busy if connection.is_stalled(now)), None)
        return stalled or next((connection for connection in self._busy if connection.is_stream), None)

    def _log_drop(self) -> None:
        """Count the drop, and log one line per `LOG_INTERVAL` seconds: under an attack there would be thousands."""
        self._dropped += 1
        if monotonic() - self._logged > LOG_INTERVAL:
            log.warning("connections_dropped", dropped=self._dropped, open=len(self), limit=self._limit)
            self._dropped, self._logged = 0, monotonic()

    def expire(self, keep_alive: float) -> None:
        """Close the connections that have been idle for `keep_alive` seconds, even those that never sent a byte."""
        now = monotonic()
        expired: list[Connection] = []
        for connection, since in self._idle.items():
            if now - since < keep_alive:
                break
            if connection.is_flushed and not connection.is_sending_headers(now):
                expired.append(connection)
        for connection in expired:
            self.forget(connection)
            connection.drop()

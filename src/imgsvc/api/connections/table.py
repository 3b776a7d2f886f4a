"""The open connections of the API, how many there may be, and which one is closed for a new client."""

from time import monotonic
from typing import Protocol

from imgsvc.logs import get_logger

log = get_logger(__name__)

RESERVED = 96
"""Descriptors for everything but connections: the database (20 connections to Postgres, or 16 to SQLite with up to
three files each), Redis, object storage, the listening socket, the event loop, what Python itself has open."""
MAX_CONNECTIONS = 4_096
"""However many descriptors there are: each connection may hold 64 KiB of headers in memory."""
MIN_CONNECTIONS = 16
STALLED = 10.0
"""Seconds without a byte from or to a client that we wait for, after which its request may be given up for another."""
BODY_WITHIN = 1.0
"""Seconds until the first byte of a body; clients send it right behind the headers."""
SLOWEST = 200
"""Bytes per second that a body has to come with, after `STALLED` seconds, to count as being sent."""
LOG_INTERVAL = 60.0


def max_connections(descriptors: int) -> int:
    """Connections for a limit of `descriptors`: each may need a second one, for the file of a download or an upload."""
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, (descriptors - RESERVED) // 2))


class Connection(Protocol):
    """What the table asks of a connection."""

    @property
    def is_flushed(self) -> bool:
        """Whether everything that was written has been handed to the kernel."""

    @property
    def is_stream(self) -> bool:
        """Whether it is sent events, which a client resumes when they break off."""

    def is_stalled(self, now: float) -> bool:
        """Whether a request is under way, and its client has done nothing for it for long."""

    def is_sending_headers(self, now: float) -> bool:
        """Whether a part of a request's headers came a moment ago."""

    def drop(self) -> None:
        """Close it at once."""


class ConnectionTable:
    """Open connections: without a request, in the order of since when, or with one, in the order of its begin."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Connection, float] = {}
        self._busy: dict[Connection, None] = {}
        self._dropped = 0
        self._logged = float("-inf")

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def is_idle(self, connection: Connection) -> bool:
        return connection in self._idle

    def set_idle(self, connection: Connection) -> None:
        """It is new, or its last request has been answered."""
        self.forget(connection)
        self._idle[connection] = monotonic()

    def set_busy(self, connection: Connection) -> None:
        """A request has come on it, with all of its headers."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy[connection] = None

    def forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)

    def make_room(self) -> bool:
        """Make sure that one more connection fits in; False when each has a request under way that goes on."""
        return len(self) < self._most or self.drop_one()

    def drop_one(self) -> bool:
        """Close the connection that is missed least; False when each has a request under way that goes on.

        Those without a request go first, the idlest before the others; then requests whose client has stalled; then
        the oldest stream of events.
        """
        victim = self._least_missed(monotonic())
        if victim is None:
            return False
        self.forget(victim)
        victim.drop()
        self._note()
        return True

    def _least_missed(self, now: float) -> Connection | None:
        for connection, since in self._idle.items():
            if connection.is_flushed or now - since > STALLED:
                return connection
        stalled = next((connection for connection in self._busy if connection.is_stalled(now)), None)
        return stalled or next((connection for connection in self._busy if connection.is_stream), None)

    def _note(self) -> None:
        """A line for many: under an attack there would be thousands."""
        self._dropped += 1
        if monotonic() - self._logged > LOG_INTERVAL:
            log.warning("connections_dropped", dropped=self._dropped, open=len(self), most=self._most)
            self._dropped, self._logged = 0, monotonic()

    def expire(self, keep_alive: float) -> None:
        """Close the connections without a request for `keep_alive` seconds, those that never sent a byte among them."""
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

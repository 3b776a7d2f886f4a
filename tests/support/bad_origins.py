"""Servers that misbehave: each has its own port on loopback and does one wrong thing to every client."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Self

from support.origin_server import image_bytes

PIECE = 2**16  # bytes of a flood that are written at a time
DRIP = 0.02  # seconds between two bytes

# The retryable ones of the error codes below: the next attempt may end differently.
RETRYABLE = {"connect_error", "connect_timeout", "read_timeout", "total_timeout", "http_429", "http_500", "http_503"}


@dataclass
class Connection:
    """A connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    hops: Iterator[int]
    ending: asyncio.Event = field(default_factory=asyncio.Event)  # the test is ending
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive_request(self) -> bool:
        """Wait for a request; return False when the client has hung up."""
        with suppress(asyncio.IncompleteReadError):
            return bool(await self.reader.readuntil(b"\r\n\r\n"))
        return False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def wait_for_hang_up(self) -> None:
        while await self.reader.read(PIECE):
            pass

    async def pause(self) -> None:
        """Wait between two drops; raise ConnectionResetError when the client has hung up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRIP):
                await self.wait_for_hang_up()
            raise ConnectionResetError

    async def hang_up(self) -> None:
        self.writer.close()

    async def half_close(self) -> None:
        """Close the writing side and keep reading until the client hangs up."""
        self.writer.write_eof()
        await self.wait_for_hang_up()

    async def reset(self) -> None:
        """Hang up with an RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bad:
    """One way to misbehave, described by `summary`.

    The server performs `act` after each request or, if `at_once`, on each connection before its first request. `code`
    is the error code of the fetch or, when only the `decoder` notices the fault, of the asset. A `whole` response is
    well-formed, so its connection may be kept.
    """

    name: str
    summary: str
    code: str
    act: Act
    decoder: bool = False
    whole: bool = False
    at_once: bool = False
    scheme: str = "http"

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE


class BadOrigin:
    """A server that misbehaves as `bad` says; once it is `fixed`, it responds with an image."""

    def __init__(self, bad: Bad) -> None:
        self.bad = bad
        self.fixed = False
        self.connections: list[Connection] = []
        self._hops = count()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self.connections:
            connection.writer.transport.abort()
        await self.all_gone()

    @property
    def url(self) -> str:
        return f"{self.bad.scheme}://127.0.0.1:{self.port}/{self.bad.name}.jpg"

    async def all_gone(self) -> None:
        """Wait until every client so far has hung up, and the server has seen the end of each connection."""
        for connection in self.connections:
            connection.ending.set()
            await connection.gone.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self.port, self._hops)
        self.connections.append(connection)
        with suppress(ConnectionError):
            if self.bad.at_once and not self.fixed:
                await self.bad.act(connection)
            while await connection.receive_request():
                await (send_image if self.fixed else self.bad.act)(connection)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        connection.gone.set()


async def send_image(connection: Connection) -> None:
    await connection.send(response(image_bytes()))


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, b"Content-Type: image/jpeg", *lines, b"", b""])


def response(body: bytes, *lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return a complete response."""
    return head(b"Content-Length: %d" % len(body), *lines, status=status) + body


# -- actions of a server ----------------------------------------------------------------------------------------------


def _then(end: Act) -> Callable[[bytes], Act]:
    """Return a factory of actions that send data and then do `end`."""

    def sending(data: bytes) -> Act:
        async def act(connection: Connection) -> None:
            await connection.send(data)
            await end(connection)

        return act

    return sending


async def _do_nothing(connection: Connection) -> None:
    """Let the server wait for the next request."""


sends = _then(_do_nothing)
then_stays = _then(Connection.wait_for_hang_up)
then_leaves = _then(Connection.hang_up)
then_resets = _then(Connection.reset)
then_half_closes = _then(Connection.half_close)


def then_floods(data: bytes, piece: bytes) -> Act:
    """Return an action that sends `data` and then `piece` without end."""

    async def act(connection: Connection) -> None:
        await connection.send(data)
        flood = piece * (PIECE // len(piece) or 1)
        while True:
            await connection.send(flood)
            await asyncio.sleep(0)  # a full socket alone makes `drain` wait

    return act


def then_drips(data: bytes, drop: bytes) -> Act:
    async def act(connection: Connection) -> None:
        await connection.send(data)
        while True:
            await connection.send(drop)
            await connection.pause()

    return act


async def never_reads(connection: Connection) -> None:
    """Read nothing until the test is ending and wants to know whether the client has hung up."""
    transport = connection.writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    await connection.ending.wait()
    transport.resume_reading()
    await connection.wait_for_hang_up()


def redirects(location: bytes, *, status: bytes = b"HTTP/1.1 302 Found") -> Act:
    """Return an action that redirects to `location`, where `PORT` is the port and `HOP` a new number each time."""

    async def act(connection: Connection) -> None:
        here = location.replace(b"PORT", b"%d" % connection.port).replace(b"HOP", b"%d" % next(connection.hops))
        await connection.send(response(b"", b"Location: " + here, status=status))

    return act

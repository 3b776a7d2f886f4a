"""Servers of bytes that misbehave: each has a port of its own on loopback, and does one wrong thing to every caller."""

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

# Of the codes below those that are tried again: what may be different a moment later.
RETRIED = {"connect_error", "connect_timeout", "read_timeout", "total_timeout", "http_429", "http_500", "http_503"}


@dataclass
class Wire:
    """A connection as the server has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    hops: Iterator[int]
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the test is at its end
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def sent(self) -> bool:
        """Whether another request came."""
        with suppress(asyncio.IncompleteReadError):
            return bool(await self.reader.readuntil(b"\r\n\r\n"))
        return False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> None:
        while await self.reader.read(PIECE):
            pass

    async def pause(self) -> None:
        """Between two drops. Raises ConnectionResetError when nobody is there to drip on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRIP):
                await self.hung_up()
            raise ConnectionResetError

    async def hang_up(self) -> None:
        self.writer.close()

    async def half_close(self) -> None:
        """Shut the writing side, and listen for ever."""
        self.writer.write_eof()
        await self.hung_up()

    async def reset(self) -> None:
        """Hang up with an RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act = Callable[[Wire], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bad:
    """One way to misbehave.

    `act` is what the server does after each request, or `at_once` on each connection before any came. `code` is how
    the fetch ends or, when only a `decoder` sees what is wrong, the asset. A `whole` answer is well-formed: its
    connection may be kept.
    """

    name: str
    says: str
    code: str
    act: Act
    decoder: bool = False
    whole: bool = False
    at_once: bool = False
    scheme: str = "http"

    @property
    def retried(self) -> bool:
        return self.code in RETRIED


class BadOrigin:
    """`async with BadOrigin(bad) as origin: origin.url`; once it is `cured`, requests are answered with an image."""

    def __init__(self, bad: Bad) -> None:
        self.bad = bad
        self.cured = False
        self.wires: list[Wire] = []
        self._hops = count()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for wire in self.wires:
            wire.writer.transport.abort()
        await self.left()

    @property
    def url(self) -> str:
        return f"{self.bad.scheme}://127.0.0.1:{self.port}/{self.bad.name}.jpg"

    async def left(self) -> None:
        """Every caller so far is gone: the server has seen the end of each connection."""
        for wire in self.wires:
            wire.over.set()
            await wire.gone.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer, self.port, self._hops)
        self.wires.append(wire)
        with suppress(ConnectionError):
            if self.bad.at_once and not self.cured:
                await self.bad.act(wire)
            while await wire.sent():
                await (send_image if self.cured else self.bad.act)(wire)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        wire.gone.set()


async def send_image(wire: Wire) -> None:
    await wire.send(answer(image_bytes()))


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, b"Content-Type: image/jpeg", *lines, b"", b""])


def answer(body: bytes, *lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A whole one."""
    return head(b"Content-Length: %d" % len(body), *lines, status=status) + body


# -- what a server may do ---------------------------------------------------------------------------------------------


def _then(end: Act) -> Callable[[bytes], Act]:
    """To say something and then do `end`."""

    def saying(data: bytes) -> Act:
        async def act(wire: Wire) -> None:
            await wire.send(data)
            await end(wire)

        return act

    return saying


async def _listen(wire: Wire) -> None:
    """For the next request."""


says = _then(_listen)
then_stays = _then(Wire.hung_up)
then_leaves = _then(Wire.hang_up)
then_resets = _then(Wire.reset)
then_half_closes = _then(Wire.half_close)


def then_floods(data: bytes, piece: bytes) -> Act:
    """With `piece`, without end."""

    async def act(wire: Wire) -> None:
        await wire.send(data)
        flood = piece * (PIECE // len(piece) or 1)
        while True:
            await wire.send(flood)
            await asyncio.sleep(0)  # a full socket alone makes `drain` wait

    return act


def then_drips(data: bytes, drop: bytes) -> Act:
    async def act(wire: Wire) -> None:
        await wire.send(data)
        while True:
            await wire.send(drop)
            await wire.pause()

    return act


async def never_reads(wire: Wire) -> None:
    """Not a byte, until the test wants to know whether the caller is gone."""
    transport = wire.writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    await wire.over.wait()
    transport.resume_reading()
    await wire.hung_up()


def redirects(location: bytes, *, status: bytes = b"HTTP/1.1 302 Found") -> Act:
    """To `location`, with `PORT` for the port and `HOP` for another number each time."""

    async def act(wire: Wire) -> None:
        here = location.replace(b"PORT", b"%d" % wire.port).replace(b"HOP", b"%d" % next(wire.hops))
        await wire.send(answer(b"", b"Location: " + here, status=status))

    return act

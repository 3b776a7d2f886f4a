"""A TCP proxy on loopback that can misbehave, for any server: S3, Redis, Postgres, an origin.

async with FaultProxy(("127.0.0.1", 9000)) as proxy:
    ...                                 # everything passes through proxy.port
    await proxy.misbehave(HANG)         # from now on, on open connections too
    await proxy.misbehave(Answer(http(503)), times=1)
    await proxy.behave()                # held connections continue
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

from support.stack import free_port


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing listens, and open connections are aborted."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Connections are accepted, and no byte moves in either direction."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A connection is aborted after it has carried this many bytes `up` to the server or `down` from it."""

    up: int | None = None
    down: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Every later request on the connection gets `reply` at once, without reaching the server."""

    reply: bytes


Fault = Refuse | Hang | Cut | Answer
REFUSE, HANG = Refuse(), Hang()
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_CHUNK = 2**16


def http(status: int, body: bytes = b"") -> bytes:
    """Return an HTTP response that closes the connection, for `Answer`."""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class FaultProxy:
    """A proxy for `server`: an address and port, or the path of a unix socket."""

    def __init__(self, server: tuple[str, int] | Path, *, port: int = 0) -> None:
        self.server = server
        self.port = port or free_port()  # a fixed port: it is closed and opened again
        self.faults = 0
        """The number of requests or connections that have met a fault; refused connections are not counted."""
        self._fault: Fault | None = None
        self._times: int | None = None
        self._healthy = asyncio.Event()
        self._healthy.set()
        self._connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._healthy.set()
        self._abort_connections()
        await asyncio.gather(*(connection.ended.wait() for connection in self._connections))

    async def misbehave(self, fault: Fault, *, times: int | None = None) -> None:
        """Apply `fault` until `behave`, or until `times` requests have met an `Answer` or a `Cut`."""
        await self.behave()
        self._fault, self._times = fault, times
        if isinstance(fault, Hang):
            self._healthy.clear()
        elif isinstance(fault, Refuse):
            self._abort_connections()

    async def behave(self) -> None:
        self._fault = None
        for connection in self._connections:
            if connection.is_answered:  # by the proxy, so the server is out of step
                connection.abort()
        self._healthy.set()
        if self._listener is None:
            await self._listen()

    async def wait_until_open(self) -> None:
        """Wait while a `Hang` holds everything."""
        if not self._healthy.is_set():
            self.faults += 1
            await self._healthy.wait()

    def next_fault(self) -> Cut | Answer | None:
        """Return the fault for a request that has just begun to arrive."""
        fault = self._fault
        if not isinstance(fault, Cut | Answer):
            return None
        self.faults += 1
        if self._times is not None:
            self._times -= 1
            self._fault = fault if self._times else None
        return fault

    async def reach_server(self) -> Streams:
        if isinstance(self.server, Path):
            return await asyncio.open_unix_connection(self.server)
        return await asyncio.open_connection(*self.server)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def _abort_connections(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            connection.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._fault, Refuse):  # accepted just before the listener was closed
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            connection.ended.set()


class _Connection:
    """A client's connection and its connection to the server; they end together."""

    def __init__(self, proxy: FaultProxy, client: Streams) -> None:
        self._proxy = proxy
        self._client = client
        self._open = [client[1]]
        self.is_answered = False
        self._is_cut = False
        self._up: int | None = None
        self._down: int | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        with suppress(OSError):
            await self._proxy.wait_until_open()
            server = await self._proxy.reach_server()
            self._open.append(server[1])
            directions = {asyncio.create_task(self._carry_up(server)), asyncio.create_task(self._carry_down(server))}
            _, others = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
        for writer in self._open:
            writer.close()

    def abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry_up(self, server: Streams) -> None:
        reader, _ = self._client
        while chunk := await reader.read(_CHUNK):
            await self._proxy.wait_until_open()
            fault = None if self._is_cut else self._proxy.next_fault()
            if isinstance(fault, Answer):
                self.is_answered = True
                await self._answer(fault.reply)
                return
            if fault:
                self._is_cut = True
                self._up, self._down = fault.up, fault.down
            self._up = await self._pass(chunk, server[1], self._up)

    async def _answer(self, reply: bytes) -> None:
        """Reply until the client disconnects: closing with unread input would discard the reply."""
        reader, writer = self._client
        writer.write(reply)
        while await reader.read(_CHUNK):
            writer.write(reply)

    async def _carry_down(self, server: Streams) -> None:
        while chunk := await server[0].read(_CHUNK):
            await self._proxy.wait_until_open()
            self._down = await self._pass(chunk, self._client[1], self._down)

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter, left: int | None) -> int | None:
        """Write the chunk, return how many more bytes may pass, and abort when none are left."""
        writer.write(chunk[:left])
        await writer.drain()
        if left is None:
            return None
        if len(chunk) >= left:
            self.abort()
        return left - len(chunk)

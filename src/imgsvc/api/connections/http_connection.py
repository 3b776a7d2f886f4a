"""One client connection: whether it is idle, and how it ends when a response precedes the end of the request body."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

import h11
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from imgsvc.api.connections.table import BODY_TIMEOUT, MIN_BODY_RATE, STALL_TIMEOUT, ConnectionTable
from imgsvc.errors import ImgsvcError

LINGER_TIMEOUT = 2.0
"""Idle seconds after which a connection is closed if its response was sent before the request body had arrived. If it
were closed at once, with unread bytes, the kernel would reset it, and clients that send everything before they read
would lose the response."""
MAX_LINGER = 30.0
MAX_DRAIN = 2**23
"""Bytes of such a body that are read and discarded; the client keeps the rest until the connection is closed."""
MAX_DECLARED_DRAIN = 2**27
"""The same for a body that declares its length, which is read to its end: enough for any upload, and for one twice as
large as allowed."""
HEADERS_TIMEOUT = 30.0
"""Seconds from the first to the last byte of a request's headers, on a connection that has been idle for long."""
EVENT_STREAM = (b"content-type", b"text/event-stream")


class HttpConnection(H11Protocol):
    """uvicorn's HTTP protocol. It updates the connection table and drains bodies that the application ignores."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, app_state: dict[str, Any], *, table: ConnectionTable
    ) -> None:
        super().__init__(config, state, app_state)
        self._table = table
        self._app = self.app
        self.app = self._respond
        self._received = 0
        self._received_at = 0.0
        self._headers_since: float | None = None
        self.request_started_at = 0.0
        self._unread_since: float | None = None
        self._is_lingering = False
        self.is_stream = False

    # -- called by the connection table -------------------------------------------------------------------------------

    @property
    def is_flushed(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def is_sending_headers(self, now: float) -> bool:
        return self._headers_since is not None and now - self._headers_since < HEADERS_TIMEOUT

    def is_stalled(self, now: float) -> bool:
        if self._unread_since is not None:
            return now - self._unread_since > STALL_TIMEOUT
        if not self.cycle.more_body or self.flow.read_paused:
            return False
        age = now - self.request_started_at
        if not self._received:
            return age > BODY_TIMEOUT
        is_slow = age > STALL_TIMEOUT and self._received < age * MIN_BODY_RATE
        return is_slow or now - self._received_at > STALL_TIMEOUT

    def drop(self) -> None:
        self.transport.abort()

    # -- called by the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        self._table.set_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_at = monotonic()
        self._received += len(data)
        super().data_received(data)
        if self._is_lingering or not self._table.is_idle(self):
            return
        if self._has_request():
            self._begin_request()
        elif self._headers_since is None:
            self._headers_since = self._received_at

    def pause_writing(self) -> None:
        self._unread_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin_request(self) -> None:
        self.request_started_at, self._received = self._received_at, len(self.cycle.body)
        self._headers_since, self.is_stream = None, False
        self._table.set_busy(self)

    def on_response_complete(self) -> None:
        """Mark the connection as idle; called by the cycle. A pipelined next request begins in `super`."""
        self._table.set_idle(self)
        super().on_response_complete()
        if self._has_request():
            self._begin_request()

    def send_400_response(self, msg: str) -> None:
        """Answer a violation of HTTP with 400, or close if a response has begun (the violation is in the body)."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        """Return False: no other protocol is supported, so `Upgrade` is ignored."""
        return False

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; if it responds before the body has arrived, send `Connection: close` and close."""
        cycle, is_early = self.cycle, False

        async def send_and_linger(message: Message) -> None:
            nonlocal is_early
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                self.is_stream = any(
                    name == EVENT_STREAM[0] and value.startswith(EVENT_STREAM[1]) for name, value in headers
                )
                is_early = cycle.more_body
                if is_early:
                    message = {**message, "headers": [*headers, CLOSE_HEADER]}
            elif is_early and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._linger(cycle, receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_and_linger)
        except RuntimeError as error:  # Starlette's, for an error after the status was sent
            if not isinstance(error.__cause__, ImgsvcError):
                raise
            cycle.disconnected = True  # already logged as `response_cut_off`; uvicorn would add a traceback
            self.transport.close()

    async def _linger(self, cycle: RequestResponseCycle, receive: Receive) -> None:
        """Wait until the client has read the response and disconnected; discard some of what it still sends."""
        self._is_lingering = True
        self._table.set_idle(self)
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        is_declared = length.isdigit() and int(length) <= MAX_DECLARED_DRAIN
        remaining = MAX_DECLARED_DRAIN if is_declared else MAX_DRAIN
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_LINGER):
                while cycle.more_body and remaining > 0:
                    async with asyncio.timeout(LINGER_TIMEOUT):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    remaining -= len(message.get("body", b""))
                if cycle.more_body:
                    await asyncio.sleep(LINGER_TIMEOUT)  # reading is paused, so the client stops sending and reads

"""One connection to a client: when it is idle, and how it ends after an answer that came before the body."""

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

from imgsvc.api.connections.table import BODY_WITHIN, SLOWEST, STALLED, ConnectionTable
from imgsvc.errors import ImgsvcError

LINGER = 2.0
"""Seconds without a byte after which a connection is closed whose answer came before its body. Closed at once, with
bytes unread, the kernel would reset it, and clients that send everything before they read would lose the answer."""
MAX_LINGER = 30.0
DRAINED = 2**23
"""Bytes of such a body that are read and thrown away; the rest waits in the client until the connection is closed."""
DRAINED_WHOLE = 2**27
"""Bytes of one that is read to its end because it says its length: any upload is, and one twice as large as allowed."""
HEADERS_WITHIN = 30.0
"""Seconds from the first byte of a request's headers to the last, where the connection has been idle for long."""
EVENTS = (b"content-type", b"text/event-stream")


class HttpConnection(H11Protocol):
    """uvicorn's, with a place in the table of connections, and an end to bodies that will not be read."""

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
        self._request_since = 0.0
        self._unread_since: float | None = None
        self._is_leaving = False
        self.is_stream = False

    # -- what the table asks ------------------------------------------------------------------------------------------

    @property
    def is_flushed(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def is_sending_headers(self, now: float) -> bool:
        return self._headers_since is not None and now - self._headers_since < HEADERS_WITHIN

    def is_stalled(self, now: float) -> bool:
        if self._unread_since is not None:
            return now - self._unread_since > STALLED
        if not self.cycle.more_body or self.flow.read_paused:
            return False
        age = now - self._request_since
        if not self._received:
            return age > BODY_WITHIN
        return now - self._received_at > STALLED or (age > STALLED and self._received < age * SLOWEST)

    def drop(self) -> None:
        self.transport.abort()

    # -- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn asks for
        super().connection_made(transport)
        self._table.set_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_at = monotonic()
        self._received += len(data)
        super().data_received(data)
        if self._is_leaving or not self._table.is_idle(self):
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
        self._request_since, self._received = self._received_at, len(self.cycle.body)
        self._headers_since, self.is_stream = None, False
        self._table.set_busy(self)

    def on_response_complete(self) -> None:
        """Called by the cycle; the next request may be here already, and then begins in `super`."""
        self._table.set_idle(self)
        super().on_response_complete()
        if self._has_request():
            self._begin_request()

    def send_400_response(self, msg: str) -> None:
        """Called for what breaks the rules of HTTP. A body may do so whose answer has begun: there is no second one."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        """Nothing here speaks another protocol: the request is answered as if it did not ask for one."""
        return False

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; say that the connection ends where it answers before the body has come, and end it."""
        cycle, is_early = self.cycle, False

        async def send_to_the_end(message: Message) -> None:
            nonlocal is_early
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                self.is_stream = any(name == EVENTS[0] and value.startswith(EVENTS[1]) for name, value in headers)
                is_early = cycle.more_body
                if is_early:
                    message = {**message, "headers": [*headers, CLOSE_HEADER]}
            elif is_early and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._linger(cycle, receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_to_the_end)
        except RuntimeError as error:  # Starlette's, for an error that came when the status was out
            if not isinstance(error.__cause__, ImgsvcError):
                raise
            cycle.disconnected = True  # the log has it, as `response_cut_off`; uvicorn would add a traceback
            self.transport.close()

    async def _linger(self, cycle: RequestResponseCycle, receive: Receive) -> None:
        """Wait for the client to read its answer and hang up, throwing away a little of what it still sends."""
        self._is_leaving = True
        self._table.set_idle(self)
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        left = DRAINED_WHOLE if length.isdigit() and int(length) <= DRAINED_WHOLE else DRAINED
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_LINGER):
                while cycle.more_body and left > 0:
                    async with asyncio.timeout(LINGER):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    left -= len(message.get("body", b""))
                if cycle.more_body:
                    await asyncio.sleep(LINGER)  # reading has paused, so that the client notices

"""aiohttp connections that never give a fetch the response of another one, and that limit the bytes around a body.

The names overridden or read here are private to aiohttp: `_get`, `_release`, `_conns` and `_factory` of its connector,
`_payload` of its protocol. `_get` and `idle` work around one bug: a server may send a response on an idle connection,
and aiohttp returns it for the next request (https://github.com/aio-libs/aiohttp/issues/13656; seen in 3.14.5). When a
release fixes the bug, delete `SafeConnector._get`, `BoundedResponse.idle` and everything that reads or sets it, and
`_has_unread_input` if `test_an_unrequested_response_that_is_still_unread_is_discarded` passes without it. The limits
(`MAX_IDLE` in `_release`, `MAX_EXCESS` in `data_received`) stay. The tests of unrequested responses (docs/security.md)
fail when a new version of aiohttp no longer has these names or uses them differently.
"""

import asyncio
import select
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

MAX_EXCESS = 2**18
"""Bytes that a response may add to its body (status lines, headers, chunk sizes), plus a quarter of the body."""
MAX_IDLE = 256
"""Idle connections kept open. Without a limit, a catalogue of many servers would use up all file descriptors."""


class ExcessData(aiohttp.ClientPayloadError):
    """A response that sends too many bytes in addition to its body."""


class BoundedResponse(ResponseHandler):
    """Aborts a response whose chunk extensions, tiny chunks or interim responses would keep the parser busy.

    It also aborts a connection that receives bytes while idle: aiohttp would parse them and keep them for the next
    fetch.
    """

    idle = False
    _received = 0

    def set_response_params(self, **params: Any) -> None:
        """Reset the counters; aiohttp calls this before each request."""
        self._received, self.idle = 0, False
        super().set_response_params(**params)

    def close(self) -> None:
        """Close at once: with TLS, asyncio would wait half a minute for the closing handshake."""
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self.idle and data:  # aiohttp passes no data to continue with its buffer
            self.abort()
            return
        self._received += len(data)
        super().data_received(data)
        payload = self._payload
        body = payload.total_bytes if payload is not None else 0
        if self.transport is not None and self._received > body + body // 4 + MAX_EXCESS:
            self.transport.pause_reading()  # the reader of the response closes the connection
            error = ExcessData()
            self.set_exception(error)
            if payload is not None:
                payload.set_exception(error)


class SafeConnector(aiohttp.TCPConnector):
    """A connector that keeps few connections, and none that received bytes while idle.

    aiohttp would reuse such a connection, and every fetch on it would get the response of the one before (see the
    docstring of this module).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(BoundedResponse, loop=self._loop)  # type: ignore[assignment]  # aiohttp names its own class

    async def _get(self, *arguments: Any) -> Connection | None:
        while (connection := await super()._get(*arguments)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close and not _has_unread_input(protocol.transport):
                return connection
            connection.close()
        return None

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        idle = sum(map(len, self._conns.values()))
        super()._release(key, protocol, should_close=should_close or idle >= MAX_IDLE)
        if isinstance(protocol, BoundedResponse):
            protocol.idle = True


def _has_unread_input(transport: asyncio.Transport | None) -> bool:
    """Return whether the kernel holds input that the event loop has not seen yet: bytes, or the end of the stream."""
    if transport is None:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))

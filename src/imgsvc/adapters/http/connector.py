"""aiohttp's connections, kept from giving one fetch the answer of another and from endless bytes beside a body.

aiohttp promises none of the names that are overridden or read here: `_get`, `_release`, `_conns` and `_factory` of its
connector, `_payload` of its protocol. `_get`, and `idle`, are here for one fault: a server may answer on an idle
connection, and aiohttp hands that answer to the next request (https://github.com/aio-libs/aiohttp/issues/13656; seen in
3.14.5). When a release fixes it, delete `SafeConnector._get`, `BoundedResponse.idle`, what reads or sets it, and
`_has_news` if `test_an_answer_that_nobody_has_seen_yet_answers_nothing_either` stays green without it. The limits
(`MAX_IDLE` in `_release`, `MAX_EXCESS` in `data_received`) stay. The tests on answers that nobody asked for
(docs/security.md) fail when a new version of aiohttp no longer has these names, or does something else with them.
"""

import asyncio
import select
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

MAX_EXCESS = 2**18
"""Bytes of an answer that are no body (status lines, headers, sizes of chunks), and a quarter of its body more."""
MAX_IDLE = 128
"""Connections that are kept: a catalogue of many servers would leave one for each, until no file can be opened."""


class ExcessData(aiohttp.ClientPayloadError):
    """An answer that consists of something else than its body."""


class BoundedResponse(ResponseHandler):
    """Ends an answer whose chunk extensions, tiny chunks or interim responses would keep the parser busy for long.

    And whatever comes while nobody asks: aiohttp would parse it, and keep it for the next fetch.
    """

    idle = False
    _received = 0

    def set_response_params(self, **params: Any) -> None:
        """Called before each request."""
        self._received, self.idle = 0, False
        super().set_response_params(**params)

    def close(self) -> None:
        """At once: with TLS asyncio would wait half a minute for a goodbye."""
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self.idle and data:  # aiohttp calls it without any, to go on with what it holds
            self.abort()
            return
        self._received += len(data)
        super().data_received(data)
        payload = self._payload
        body = payload.total_bytes if payload is not None else 0
        if self.transport is not None and self._received > body + body // 4 + MAX_EXCESS:
            self.transport.pause_reading()  # whoever waits for the answer closes the connection
            error = ExcessData()
            self.set_exception(error)
            if payload is not None:
                payload.set_exception(error)


class SafeConnector(aiohttp.TCPConnector):
    """Keeps few connections, and none on which something came while nobody asked.

    aiohttp would use it again, and each fetch on it would get the answer to the one before (see the top of this file).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(BoundedResponse, loop=self._loop)  # type: ignore[assignment]  # aiohttp names its own class

    async def _get(self, *arguments: Any) -> Connection | None:
        while (connection := await super()._get(*arguments)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close and not _has_news(protocol.transport):
                return connection
            connection.close()
        return None

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        kept = sum(map(len, self._conns.values()))
        super()._release(key, protocol, should_close=should_close or kept >= MAX_IDLE)
        if isinstance(protocol, BoundedResponse):
            protocol.idle = True


def _has_news(transport: asyncio.Transport | None) -> bool:
    """Whether the kernel has something that the event loop has not seen yet: bytes, or the end."""
    if transport is None:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))

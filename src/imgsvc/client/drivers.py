"""The drivers that perform the actions of calls (see `actions.py`): one blocks, the other awaits."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from functools import partial
from time import sleep
from typing import Any, TypeVar, cast

import httpx

from imgsvc.client.actions import Action, Call, Emit, Pause, Send, emit_result
from imgsvc.client.errors import ClientError
from imgsvc.client.responses import translated_errors

T = TypeVar("T")


class BlockingDriver:
    """A driver that performs actions in the calling thread."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url

    def run(self, call: Call[T]) -> T:
        """Run `call` and return its result."""
        [value] = self.each(emit_result(call))
        return cast("T", value)

    def each(self, call: Call[None]) -> Generator[Any, None, None]:
        """Run `call` and yield the values that it emits."""
        connection = _Connection(self._http)
        resume = partial(call.send, None)
        try:
            while True:
                try:
                    action = resume()
                except StopIteration:
                    return
                resume = partial(call.send, None)
                if isinstance(action, Emit):
                    yield action.value
                    continue
                try:
                    with translated_errors(self._url):
                        resume = partial(call.send, connection.perform(action))
                except ClientError as error:
                    resume = partial(call.throw, error)
        finally:
            call.close()
            connection.close()


class _Connection:
    """The I/O of one call; it holds the response that is streamed."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def perform(self, action: Action) -> Any:
        match action:
            case Send():
                return self._send(action)
            case Pause():
                return sleep(action.seconds)
        return next(self._chunks, b"")

    def _send(self, action: Send) -> httpx.Response:
        self.close()
        request = self._http.build_request(action.method, action.path, **action.options)
        response = self._http.send(request, stream=action.streamed)
        if action.streamed:
            self._response, self._chunks = response, response.iter_bytes()
            if response.is_error:
                response.read()
        return response

    def close(self) -> None:
        if self._response:
            self._response.close()
        self._response = None


class AsyncDriver:
    """A driver that performs actions without blocking the event loop, except for file access."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    async def run(self, call: Call[T]) -> T:
        """Run `call` and return its result."""
        [value] = [value async for value in self.each(emit_result(call))]
        return cast("T", value)

    async def each(self, call: Call[None]) -> AsyncGenerator[Any, None]:
        """Run `call` and yield the values that it emits."""
        connection = _AsyncConnection(self._http)
        resume = partial(call.send, None)
        try:
            while True:
                try:
                    action = resume()
                except StopIteration:
                    return
                resume = partial(call.send, None)
                if isinstance(action, Emit):
                    yield action.value
                    continue
                try:
                    with translated_errors(self._url):
                        resume = partial(call.send, await connection.perform(action))
                except ClientError as error:
                    resume = partial(call.throw, error)
        finally:
            call.close()
            await connection.close()


class _AsyncConnection:
    """The same as `_Connection`, awaited."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, action: Action) -> Any:
        match action:
            case Send():
                return await self._send(action)
            case Pause():
                return await asyncio.sleep(action.seconds)
        return await anext(self._chunks, b"") if self._chunks else b""

    async def _send(self, action: Send) -> httpx.Response:
        await self.close()
        request = self._http.build_request(action.method, action.path, **action.options)
        response = await self._http.send(request, stream=action.streamed)
        if action.streamed:
            self._response, self._chunks = response, response.aiter_bytes()
            if response.is_error:
                await response.aread()
        return response

    async def close(self) -> None:
        if self._response:
            await self._response.aclose()
        self._response = None

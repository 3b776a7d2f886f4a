"""What takes the steps of a flow: one shell that blocks and one that awaits, otherwise alike."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from functools import partial
from time import sleep
from typing import Any, TypeVar, cast

import httpx

from imgsvc.client.actions import Call, Emit, Pause, Send, Step, emitted
from imgsvc.client.errors import ClientError
from imgsvc.client.responses import translated

T = TypeVar("T")


class BlockingDriver:
    """Takes steps one after the other in the calling thread."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url

    def run(self, flow: Call[T]) -> T:
        """What the flow returns."""
        [value] = self.each(emitted(flow))
        return cast("T", value)

    def each(self, flow: Call[None]) -> Generator[Any, None, None]:
        """What the flow gives."""
        stream = _Stream(self._http)
        go_on = partial(flow.send, None)
        try:
            while True:
                try:
                    step = go_on()
                except StopIteration:
                    return
                go_on = partial(flow.send, None)
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    with translated(self._url):
                        go_on = partial(flow.send, stream.take(step))
                except ClientError as error:
                    go_on = partial(flow.throw, error)
        finally:
            flow.close()
            stream.close()


class _Stream:
    """The network as one flow uses it, with the answer that it is reading."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._answer: httpx.Response | None = None
        self._parts: Iterator[bytes] = iter(())

    def take(self, step: Step) -> Any:
        match step:
            case Send():
                return self._ask(step)
            case Pause():
                return sleep(step.seconds)
        return next(self._parts, b"")

    def _ask(self, ask: Send) -> httpx.Response:
        self.close()
        request = self._http.build_request(ask.method, ask.path, **ask.options)
        answer = self._http.send(request, stream=ask.streamed)
        if ask.streamed:
            self._answer, self._parts = answer, answer.iter_bytes()
            if answer.is_error:
                answer.read()
        return answer

    def close(self) -> None:
        if self._answer:
            self._answer.close()
        self._answer = None


class AsyncDriver:
    """Takes steps without holding up the event loop, but for reading and writing files."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    async def run(self, flow: Call[T]) -> T:
        """What the flow returns."""
        [value] = [value async for value in self.each(emitted(flow))]
        return cast("T", value)

    async def each(self, flow: Call[None]) -> AsyncGenerator[Any, None]:
        """What the flow gives."""
        stream = _AsyncStream(self._http)
        go_on = partial(flow.send, None)
        try:
            while True:
                try:
                    step = go_on()
                except StopIteration:
                    return
                go_on = partial(flow.send, None)
                if isinstance(step, Emit):
                    yield step.value
                    continue
                try:
                    with translated(self._url):
                        go_on = partial(flow.send, await stream.take(step))
                except ClientError as error:
                    go_on = partial(flow.throw, error)
        finally:
            flow.close()
            await stream.close()


class _AsyncStream:
    """As `_Stream`, awaited."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._answer: httpx.Response | None = None
        self._parts: AsyncIterator[bytes] | None = None

    async def take(self, step: Step) -> Any:
        match step:
            case Send():
                return await self._ask(step)
            case Pause():
                return await asyncio.sleep(step.seconds)
        return await anext(self._parts, b"") if self._parts else b""

    async def _ask(self, ask: Send) -> httpx.Response:
        await self.close()
        request = self._http.build_request(ask.method, ask.path, **ask.options)
        answer = await self._http.send(request, stream=ask.streamed)
        if ask.streamed:
            self._answer, self._parts = answer, answer.aiter_bytes()
            if answer.is_error:
                await answer.aread()
        return answer

    async def close(self) -> None:
        if self._answer:
            await self._answer.aclose()
        self._answer = None

"""A server with scripted responses, and a wrapper that calls it with either client."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from aiohttp import web

from imgsvc.client import AsyncClient, Client
from support.origin_server import Server

BROKEN = 0
"""The status of a response whose connection breaks in the middle of the body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; strings are sent unchanged, everything else as JSON."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Scripted(Server):
    """A server that sends its answers in order and repeats the last one."""

    answers: deque[Answer] = field(default_factory=deque)

    def script(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self._next)]

    async def _next(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        headers = {"Content-Type": "application/json", **answer.headers}
        if answer.status != BROKEN:
            return web.Response(text=text, status=answer.status, headers=headers)
        response = web.StreamResponse(headers={**headers, "Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(text.encode())
        assert request.transport
        request.transport.close()  # data already written still arrives
        return response


class Caller:
    """A wrapper of either client: every call is awaited, and iterators are returned as lists."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def __call__(self, name: str, *arguments: Any, **named: Any) -> Any:
        if isinstance(self.client, Client):
            return await asyncio.to_thread(self._block, name, arguments, named)
        result = getattr(self.client, name)(*arguments, **named)
        return await result if isawaitable(result) else [item async for item in result]

    def _block(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        result = getattr(self.client, name)(*arguments, **named)
        return list(result) if hasattr(result, "send") else result


@asynccontextmanager
async def either(kind: str, url: str, **options: Any) -> AsyncIterator[Caller]:
    """Open the `blocking` or the `awaiting` client."""
    if kind == "blocking":
        with Client(url, **options) as blocking:
            yield Caller(blocking)
    else:
        async with AsyncClient(url, **options) as awaiting:
            yield Caller(awaiting)

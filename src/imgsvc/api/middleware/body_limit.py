"""Bodies over the limit: refused before they are read when they say their length, else while they are read."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsvc.api.middleware.body_sizes import max_body_bytes
from imgsvc.api.problems.responses import too_large


class BodyLimit:
    """At most `most` bytes in an upload, few in other requests; FastAPI's own `max_body_size` answers in plain text.

    FastAPI reads and parses JSON before it asks who is calling.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = max_body_bytes(scope, self.most)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > most:
            await too_large(Request(scope), self.most)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413)
            return message

        await self.app(scope, receive_counted, send)

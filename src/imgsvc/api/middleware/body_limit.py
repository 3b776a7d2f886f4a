"""Refuses bodies over the limit: by their Content-Length before they are read, otherwise while they are read."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsvc.api.middleware.body_sizes import max_body_bytes
from imgsvc.api.problems.responses import too_large


class BodyLimit:
    """Limits the bytes of a body, see `max_body_bytes`.

    A middleware, because FastAPI reads and parses JSON before it authenticates the caller, and because its own
    `max_body_size` answers in plain text.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self.app = app
        self.max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = max_body_bytes(scope, self.max_upload_bytes)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            await too_large(Request(scope), self.max_upload_bytes)(scope, receive, send)
            return
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413)
            return message

        await self.app(scope, receive_and_count, send)

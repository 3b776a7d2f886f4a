"""A response with a stored object, or the part of it that a `Range` header asks for (RFC 9110 §14)."""

import re
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from imgsvc.services.ports import OpenObject, Part

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def parse_range(header: str, size: int) -> Part | None:
    """Return the part of an object of `size` bytes that a `Range` header asks for; None: send it whole.

    That is allowed for several ranges, and for those that are invalid or outside the object.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    else:
        start, stop = max(0, size - int(match[2])), size
    return Part(start, stop) if start < stop else None


class ObjectResponse(Response):
    """Sends an open object in chunks, and closes it."""

    def __init__(self, found: OpenObject, part: Part | None, **options: Any) -> None:
        super().__init__(status_code=206 if part else 200, **options)
        self._chunks = found.chunks
        self.headers["Content-Length"] = str(part.stop - part.start if part else found.size)
        if part:
            self.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{found.size}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # of the interface
        async with aclosing(self._chunks) as chunks:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

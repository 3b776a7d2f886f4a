"""A response that is created while it is sent: a report or an archive."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Send


class DownloadResponse(StreamingResponse):
    """Sends the status with the first chunk, so that an error before it is answered with a problem.

    When the client disconnects, also before the first chunk, the content is cancelled and closed.
    """

    def __init__(self, content: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(content, **options)
        self._content = content

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._content) as content:
            self.body_iterator = _after(await anext(content, b""), content)
            await super().stream_response(send)


async def _after(first: bytes, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in content:
        yield chunk

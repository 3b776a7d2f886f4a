"""Downloads whole files: catalogues that the service fetches itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import Message

import httpx

from imgsvc.adapters.http.egress import catalogue_limits, open_fetcher
from imgsvc.adapters.http.fetcher import Fetcher
from imgsvc.adapters.http.transport import declared_length, next_chunk
from imgsvc.adapters.http.validators import validators_of
from imgsvc.errors import BodyTooLarge
from imgsvc.services.ports import FetchedFile, Validators
from imgsvc.settings.server import Settings


@asynccontextmanager
async def open_downloader(settings: Settings) -> AsyncIterator["FileDownloader"]:
    """Open a downloader with the limits of catalogues."""
    fetcher = open_fetcher(settings, catalogue_limits(settings))
    try:
        yield FileDownloader(fetcher)
    finally:
        await fetcher.aclose()


class FileDownloader:
    """The port `FileOrigin`; the limits are those of its fetcher."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def download(
        self, url: str, write: Callable[[bytes], Awaitable[object]], validators: Validators | None = None
    ) -> FetchedFile:
        limit = self._fetcher.limits.max_body_bytes

        async def read(response: httpx.Response, url: httpx.URL) -> FetchedFile:
            size = declared_length(response.headers) or 0
            if size <= limit:
                size = 0
                while (chunk := await next_chunk(response)) and (size := size + len(chunk)) <= limit:
                    await write(chunk)
            if size > limit:
                raise BodyTooLarge
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return FetchedFile(_filename(response.headers), media_type, validators_of(response.headers, url))

        return await self._fetcher.get(url, read, validators)


def _filename(headers: httpx.Headers) -> str | None:
    """Return the name in Content-Disposition (RFC 6266), also in the form of RFC 8187."""
    message = Message()
    message["Content-Disposition"] = headers.get("content-disposition", "")
    return message.get_filename()

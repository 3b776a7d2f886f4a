"""The client for asyncio."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Self, Unpack

import httpx

from imgsvc.client.actions import OnWait, RetryBudget
from imgsvc.client.batches import Batch, Progress, Validation
from imgsvc.client.calls import Calls, Statuses, path_of
from imgsvc.client.client import Target
from imgsvc.client.deliveries import Delivery
from imgsvc.client.downloads import CSV, ZIP, Option, download, output_of
from imgsvc.client.drivers import AsyncDriver
from imgsvc.client.products import Product
from imgsvc.client.setup import http_options
from imgsvc.client.uploads import Fields, Source


class AsyncClient:
    """The calls of `Client`, which documents them; they are awaited, or iterated over with `async for`.

    Files are read and written in the event loop, in chunks of 64 kB.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30,
        retry_timeout: float = 60,
        on_wait: OnWait | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        with http_options(self.url, api_key, timeout) as options:
            self._http = httpx.AsyncClient(**options)
        self._retries = RetryBudget(retry_timeout, on_wait)
        self._driver = AsyncDriver(self._http, self.url)
        self._calls = Calls(self.url, self._retries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self, source: Source | None = None, *, idempotency_key: str | None = None, **fields: Unpack[Fields]
    ) -> Batch:
        return await self._driver.run(self._calls.submit(source, idempotency_key, fields))

    async def validate(self, source: Source | None = None, **fields: Unpack[Fields]) -> Validation:
        return await self._driver.run(self._calls.validate(source, fields))

    async def batch(self, batch: Batch | str) -> Batch:
        return await self._driver.run(self._calls.batch(batch))

    def batches(self, *, status: Statuses = None, catalogue: str | None = None) -> AsyncGenerator[Batch]:
        return self._driver.each(self._calls.batches(status, catalogue))

    def products(self, batch: Batch | str, *, status: Statuses = None) -> AsyncGenerator[Product]:
        return self._driver.each(self._calls.products(batch, status))

    def follow(self, batch: Batch | str, *, timeout: float | None = None) -> AsyncGenerator[Batch]:
        return self._driver.each(self._calls.follow(batch, timeout))

    async def wait(
        self,
        batch: Batch | str,
        *,
        progress: Callable[[Batch], object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the same as in `Client`; its error names the batch
    ) -> Batch:
        async for latest in self.follow(batch, timeout=timeout):
            if progress:
                progress(latest)
        return latest

    def events(self, batch: Batch | str) -> AsyncGenerator[Progress]:
        return self._driver.each(self._calls.events(batch))

    async def retry(self, batch: Batch | str, codes: Iterable[str] = ()) -> Batch:
        return await self._driver.run(self._calls.retry(batch, codes))

    async def cancel(self, batch: Batch | str) -> Batch:
        return await self._driver.run(self._calls.cancel(batch))

    async def delete(self, batch: Batch | str) -> None:
        await self._driver.run(self._calls.delete(batch))

    async def deliveries(self, batch: Batch | str) -> list[Delivery]:
        return await self._driver.run(self._calls.deliveries(batch))

    async def download_output(
        self,
        batch: Batch | str,
        path: Target,
        *,
        extended: bool = False,
        safe: bool = False,
        bom: bool = False,
        partial: bool = False,
    ) -> None:
        name, media_type = output_of(path)
        await self._download(batch, name, path, media_type, extended=extended, safe=safe, bom=bom, partial=partial)

    async def download_failures(
        self, batch: Batch | str, path: Target, *, safe: bool = False, bom: bool = False, partial: bool = False
    ) -> None:
        await self._download(batch, "failures.csv", path, CSV, safe=safe, bom=bom, partial=partial)

    async def download_changes(
        self, batch: Batch | str, path: Target, *, extended: bool = False, safe: bool = False, bom: bool = False
    ) -> None:
        await self._download(batch, "changes.csv", path, CSV, extended=extended, safe=safe, bom=bom)

    async def download_checks(
        self,
        batch: Batch | str,
        path: Target,
        *,
        shops: Sequence[str] = (),
        safe: bool = False,
        bom: bool = False,
        partial: bool = False,
    ) -> None:
        await self._download(batch, "checks.csv", path, CSV, shop=shops, safe=safe, bom=bom, partial=partial)

    async def download_archive(self, batch: Batch | str, path: Target, *, partial: bool = False) -> None:
        await self._download(batch, "archive.zip", path, ZIP, partial=partial)

    async def _download(self, batch: Batch | str, name: str, path: Target, media_type: str, **options: Option) -> None:
        source = f"{path_of(batch)}/{name}"
        call = download(source, path, media_type, url=self.url, retries=self._retries, **options)
        await self._driver.run(call)

"""The client that blocks: what each call means stands here, for both."""

import os
from collections.abc import Callable, Generator, Iterable
from typing import Self, Unpack

import httpx

from imgsvc.client.actions import OnWait, RetryBudget
from imgsvc.client.batches import Batch, Progress, Validation
from imgsvc.client.calls import Calls, Statuses, path_of
from imgsvc.client.deliveries import Delivery
from imgsvc.client.downloads import CSV, ZIP, download
from imgsvc.client.drivers import BlockingDriver
from imgsvc.client.products import Product
from imgsvc.client.setup import http_options
from imgsvc.client.uploads import Fields, Source

Target = str | os.PathLike[str]


class Client:
    """Calls the imgsvc at `url`.

    Calls that are safe to repeat are retried for `retry_timeout` seconds when the server cannot be reached, the
    connection breaks, or the server answers 429, 502, 503 or 504; `Retry-After` is honoured. Those are all calls except
    `retry`, `cancel` and `delete`. `on_wait(error, seconds)` is called before each pause; an exception from it ends the
    call. `timeout` is the limit in seconds for each step of a request. A batch is passed as a `Batch` or by its id.
    Every call raises `ClientError` (see `imgsvc.client.errors`).

    Raises:
        ConfigurationError: the URL, the key, or a proxy that the environment names cannot be used.
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
            self._http = httpx.Client(**options)
        self._patience = RetryBudget(retry_timeout, on_wait)
        self._shell = BlockingDriver(self._http, self.url)
        self._calls = Calls(self.url, self._patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, source: Source, *, idempotency_key: str | None = None, **fields: Unpack[Fields]) -> Batch:
        """Upload a CSV (its path, an open binary file, or its bytes) or rows; the batch that was accepted.

        Rows are mappings with `serial_number`, `product_name` and `input_urls`, or tuples in this order, at most 8 MiB
        as JSON; a CSV is streamed from the disk. A file is sent from its beginning; a pipe is read to its end first.
        It is one batch however often it is sent: with the same `idempotency_key` also by calls within 24 hours.

        Raises:
            InvalidUpload: with everything wrong in `problem.errors`; nothing was stored.
            TooManyRequests: there is no room for longer than the client's patience.
            OSError: the file cannot be read.
            TypeError, ValueError: rows that are none.
        """
        return self._shell.run(self._calls.submit(source, idempotency_key, fields))

    def validate(self, source: Source, **fields: Unpack[Fields]) -> Validation:
        """What `submit` would make of it; nothing is stored. Raises as `submit` does."""
        return self._shell.run(self._calls.validate(source, fields))

    def batch(self, batch: Batch | str) -> Batch:
        """The batch as it is now."""
        return self._shell.run(self._calls.batch(batch))

    def batches(self, *, status: Statuses = None) -> Generator[Batch]:
        """Your batches, the newest first, read page by page; only those in one of these statuses, if given."""
        return self._shell.each(self._calls.batches(status))

    def products(self, batch: Batch | str, *, status: Statuses = None) -> Generator[Product]:
        """The products in the order of the CSV, read page by page; only those with an image in one of the statuses."""
        return self._shell.each(self._calls.products(batch, status))

    def follow(self, batch: Batch | str, *, timeout: float | None = None) -> Generator[Batch]:
        """The batch as it is now and after each change, until it has ended.

        Raises:
            StillRunning: it has not, after `timeout` seconds.
        """
        return self._shell.each(self._calls.follow(batch, timeout))

    def wait(
        self, batch: Batch | str, *, progress: Callable[[Batch], object] | None = None, timeout: float | None = None
    ) -> Batch:
        """The batch at its end; `progress` is called with it now and after each change. Raises as `follow` does."""
        for latest in self.follow(batch, timeout=timeout):
            if progress:
                progress(latest)
        return latest

    def events(self, batch: Batch | str) -> Generator[Progress]:
        """The progress now and as it changes, at most four times a second, the end last; nothing if it is known.

        One connection for all of them; one that ends or breaks is opened again where it ended.
        """
        return self._shell.each(self._calls.events(batch))

    def retry(self, batch: Batch | str, codes: Iterable[str] = ()) -> Batch:
        """Begin a new round with the images that failed, or with those that failed with one of `codes`.

        Raises:
            Conflict: it has not ended, or there is nothing to retry.
        """
        return self._shell.run(self._calls.retry(batch, codes))

    def cancel(self, batch: Batch | str) -> Batch:
        """Give up what is not done. Raises Conflict when it has ended."""
        return self._shell.run(self._calls.cancel(batch))

    def delete(self, batch: Batch | str) -> None:
        """Remove it with its images. Raises Conflict while it runs."""
        self._shell.run(self._calls.delete(batch))

    def deliveries(self, batch: Batch | str) -> list[Delivery]:
        """How its ends were announced to its webhook, the newest first."""
        return self._shell.run(self._calls.deliveries(batch))

    def download_output(
        self,
        batch: Batch | str,
        path: Target,
        *,
        extended: bool = False,
        safe: bool = False,
        bom: bool = False,
        partial: bool = False,
    ) -> None:
        """Write the CSV with the new column to `path`, where it appears only when all of it has arrived.

        `extended` adds statuses, errors and sizes, `safe` disarms formulas, `bom` is for spreadsheets, `partial` takes
        what is there while the batch runs.

        Raises:
            Conflict: it has not ended.
            OSError: the file cannot be written.
        """
        self._download(batch, "output.csv", path, CSV, extended=extended, safe=safe, bom=bom, partial=partial)

    def download_failures(
        self, batch: Batch | str, path: Target, *, safe: bool = False, bom: bool = False, partial: bool = False
    ) -> None:
        """As `download_output`, only the rows with images that failed, with an `Error` column."""
        self._download(batch, "failures.csv", path, CSV, safe=safe, bom=bom, partial=partial)

    def download_archive(self, batch: Batch | str, path: Target, *, partial: bool = False) -> None:
        """As `download_output`, every compressed image in a ZIP."""
        self._download(batch, "archive.zip", path, ZIP, partial=partial)

    def _download(self, batch: Batch | str, name: str, path: Target, media_type: str, **wishes: bool) -> None:
        source = f"{path_of(batch)}/{name}"
        flow = download(source, path, media_type, url=self.url, patience=self._patience, **wishes)
        self._shell.run(flow)

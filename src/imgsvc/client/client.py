"""The blocking client; its docstrings describe the calls of both clients."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Self, Unpack

import httpx

from imgsvc.client.actions import OnWait, RetryBudget
from imgsvc.client.batches import Batch, Progress, Validation
from imgsvc.client.calls import Calls, Statuses, path_of
from imgsvc.client.deliveries import Delivery
from imgsvc.client.downloads import CSV, ZIP, Option, download, output_of
from imgsvc.client.drivers import BlockingDriver
from imgsvc.client.products import Product
from imgsvc.client.setup import http_options
from imgsvc.client.uploads import Fields, Source

Target = str | os.PathLike[str]


class Client:
    """A blocking client of the imgsvc at `url`.

    Calls that are safe to repeat are retried for `retry_timeout` seconds when the server cannot be reached, the
    connection breaks, or the server answers 429, 502, 503 or 504; `Retry-After` is honoured. That applies to all calls
    except `retry`, `cancel` and `delete`. `on_wait(error, seconds)` is called before each pause; an exception from it
    ends the call. `timeout` is the limit in seconds for each step of a request. A batch is passed as a `Batch` or by
    its id. Every call raises `ClientError` (see `imgsvc.client.errors`).

    Raises:
        ConfigurationError: the URL, the API key or a proxy of the environment cannot be used.
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
        self._retries = RetryBudget(retry_timeout, on_wait)
        self._driver = BlockingDriver(self._http, self.url)
        self._calls = Calls(self.url, self._retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self, source: Source | None = None, *, idempotency_key: str | None = None, **fields: Unpack[Fields]
    ) -> Batch:
        """Upload a CSV (its path, an open binary file, or its bytes) or rows; return the accepted batch.

        Rows are mappings with `serial_number`, `product_name` and `input_urls`, or tuples in this order, at most 8 MiB
        as JSON. A CSV is streamed from the disk; a file is sent from its beginning, a pipe is read to its end first.
        With `source_url=` instead of a source, the server fetches the catalogue, for up to ten minutes.
        Retries never create a second batch, nor do further calls with the same `idempotency_key` within 24 hours.

        Raises:
            InvalidUpload: the upload was rejected, with every error in `problem.errors`; nothing was stored.
            TooManyRequests: a limit of the API key was still reached when `retry_timeout` expired.
            OSError: the file cannot be read.
            TypeError, ValueError: a row is malformed.
        """
        return self._driver.run(self._calls.submit(source, idempotency_key, fields))

    def validate(self, source: Source | None = None, **fields: Unpack[Fields]) -> Validation:
        """Return what `submit` would create, without storing anything; the errors are those of `submit`."""
        return self._driver.run(self._calls.validate(source, fields))

    def batch(self, batch: Batch | str) -> Batch:
        """Return the current state of the batch."""
        return self._driver.run(self._calls.batch(batch))

    def batches(self, *, status: Statuses = None, catalogue: str | None = None) -> Generator[Batch]:
        """Yield your batches, newest first, fetched page by page.

        `status` limits them to one or several statuses, `catalogue` to its versions.
        """
        return self._driver.each(self._calls.batches(status, catalogue))

    def products(self, batch: Batch | str, *, status: Statuses = None) -> Generator[Product]:
        """Yield the products in CSV order, fetched page by page.

        With `status`, only products with an image of that status, or of one of several, are yielded.
        """
        return self._driver.each(self._calls.products(batch, status))

    def follow(self, batch: Batch | str, *, timeout: float | None = None) -> Generator[Batch]:
        """Yield the batch now and after each change, until it has ended.

        Raises:
            StillRunning: it had not ended after `timeout` seconds.
        """
        return self._driver.each(self._calls.follow(batch, timeout))

    def wait(
        self, batch: Batch | str, *, progress: Callable[[Batch], object] | None = None, timeout: float | None = None
    ) -> Batch:
        """Wait for the end and return the batch; `progress` is called at once and after each change.

        Raises:
            StillRunning: it had not ended after `timeout` seconds.
        """
        for latest in self.follow(batch, timeout=timeout):
            if progress:
                progress(latest)
        return latest

    def events(self, batch: Batch | str) -> Generator[Progress]:
        """Yield the progress now and after changes, at most four times a second; the last item is the end.

        All events use one connection. If it ends or breaks, it is reopened and continues after the last event;
        an end that was already yielded is not repeated.
        """
        return self._driver.each(self._calls.events(batch))

    def retry(self, batch: Batch | str, codes: Iterable[str] = ()) -> Batch:
        """Start a new round with the failed images, or with those that failed with one of `codes`.

        Raises:
            Conflict: the batch has not ended, or there is nothing to retry.
        """
        return self._driver.run(self._calls.retry(batch, codes))

    def cancel(self, batch: Batch | str) -> Batch:
        """Cancel the unfinished images. Raises Conflict if the batch has ended."""
        return self._driver.run(self._calls.cancel(batch))

    def delete(self, batch: Batch | str) -> None:
        """Delete the batch and its images. Raises Conflict while it is running."""
        self._driver.run(self._calls.delete(batch))

    def deliveries(self, batch: Batch | str) -> list[Delivery]:
        """Return the webhook deliveries of the batch, newest first."""
        return self._driver.run(self._calls.deliveries(batch))

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
        """Download the catalogue with the output URLs to `path`; the file appears only when it is complete.

        The ending of `path` decides the format: `.xlsx`, `.ods`, `.tsv`, `.jsonl` or `.xml`; any other is a CSV.
        `extended` adds statuses, errors and sizes, `safe` disarms formulas, `bom` is for spreadsheets, `partial` is
        for a batch that is still running.

        Raises:
            Conflict: the batch has not ended.
            OSError: the file cannot be written.
        """
        name, media_type = output_of(path)
        self._download(batch, name, path, media_type, extended=extended, safe=safe, bom=bom, partial=partial)

    def download_failures(
        self, batch: Batch | str, path: Target, *, safe: bool = False, bom: bool = False, partial: bool = False
    ) -> None:
        """Download only the rows with failed images, with an `Error` column; otherwise like `download_output`."""
        self._download(batch, "failures.csv", path, CSV, safe=safe, bom=bom, partial=partial)

    def download_changes(
        self, batch: Batch | str, path: Target, *, extended: bool = False, safe: bool = False, bom: bool = False
    ) -> None:
        """Download only the rows that are new or changed since the version before; otherwise like `download_output`.

        Raises:
            Conflict: the batch has not ended, or was uploaded without `catalogue`.
        """
        self._download(batch, "changes.csv", path, CSV, extended=extended, safe=safe, bom=bom)

    def download_checks(
        self,
        batch: Batch | str,
        path: Target,
        *,
        shops: Sequence[str] = (),
        safe: bool = False,
        bom: bool = False,
        partial: bool = False,
    ) -> None:
        """Download the remarks on images: broken rules of `shops` (none: all), repeats, placeholders; as a CSV.

        The names of shops are those of the API, such as `google`; otherwise it is like `download_output`.
        """
        self._download(batch, "checks.csv", path, CSV, shop=shops, safe=safe, bom=bom, partial=partial)

    def download_archive(self, batch: Batch | str, path: Target, *, partial: bool = False) -> None:
        """Download every compressed image in a ZIP; otherwise like `download_output`."""
        self._download(batch, "archive.zip", path, ZIP, partial=partial)

    def _download(self, batch: Batch | str, name: str, path: Target, media_type: str, **options: Option) -> None:
        source = f"{path_of(batch)}/{name}"
        call = download(source, path, media_type, url=self.url, retries=self._retries, **options)
        self._driver.run(call)

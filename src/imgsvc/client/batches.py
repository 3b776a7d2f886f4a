"""Batches as the server sends them. Times are aware, sizes in bytes, shares from 0 to 1."""

from datetime import datetime

from imgsvc.client.problems import Wire

_TERMINAL = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})


class AssetCounts(Wire):
    """Distinct images by status; they sum to `total`."""

    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """How many will not change any more."""
        return self.succeeded + self.failed + self.cancelled


class Counts(Wire):
    """`urls` counts repeated ones too."""

    products: int
    urls: int
    assets: AssetCounts


class Bytes(Wire):
    """Of the images that succeeded; `saved_ratio` is the share that was saved."""

    input: int
    output: int
    saved_ratio: float | None = None


class Spec(Wire, extra="allow"):  # options that a newer server adds are there as well
    """What every image of a batch is compressed to; the first one is `main`."""

    name: str
    quality: int
    format: str
    max_width: int | None
    max_height: int | None
    background: str
    keep_metadata: str


class Warning(Wire):  # noqa: A001  # the server's word for it
    """Something odd in the CSV that was accepted all the same."""

    code: str
    detail: str
    row: int | None
    column: str | None
    value: str | None


class Manifest(Wire):
    """How the CSV was read; `warnings` are the first 100 of `warnings_total`."""

    filename: str | None
    sha256: str
    encoding: str
    delimiter: str
    warnings: list[Warning]
    warnings_total: int


class Webhook(Wire):
    """Where the end is announced, and whether it has been: `pending`, `delivered` or `exhausted`."""

    url: str
    status: str
    attempts: int


class Links(Wire):
    self: str
    products: str
    output_csv: str
    failures_csv: str
    events: str
    archive_zip: str


class State(Wire):
    """How far a batch is; `errors_by_code` counts the images that failed by cause."""

    id: str
    status: str
    counts: Counts
    progress: float
    bytes: Bytes
    errors_by_code: dict[str, int]

    @property
    def has_ended(self) -> bool:
        return self.status in _TERMINAL


class Batch(State):
    """An accepted CSV and how far it is; `expires_at` is when it will be removed, if ever."""

    specs: list[Spec]
    manifest: Manifest
    webhook: Webhook | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    links: Links


class BatchPage(Wire):
    data: list[Batch]
    next: str | None


class Progress(State):
    """How far a batch was at one moment, as its events tell."""


class Host(Wire):
    """A server that images would be fetched from."""

    host: str
    assets: int


class Validation(Wire):
    """What an upload would make; `hosts` are the 20 of `hosts_total` with the most images, `columns` the headers."""

    products: int
    urls: int
    assets: int
    invalid_urls: int
    hosts: list[Host]
    hosts_total: int
    encoding: str | None = None
    delimiter: str | None = None
    columns: dict[str, str | None] | None = None
    warnings: list[Warning]
    warnings_total: int

"""Models of batches. Times are timezone-aware, sizes are in bytes, ratios from 0 to 1."""

from datetime import datetime
from typing import TypeAlias

from imgsvc.client.problems import ApiModel

_TERMINAL = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})


class AssetCounts(ApiModel):
    """Distinct images by status; they sum to `total`."""

    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """The number of images whose status is final until a retry."""
        return self.succeeded + self.failed + self.cancelled


class Counts(ApiModel):
    """Totals of a batch; `urls` includes repeated URLs, `assets` are distinct images."""

    products: int
    urls: int
    assets: AssetCounts


class Bytes(ApiModel):
    """Sizes of the images that succeeded, before and after; `saved_ratio` is the share saved."""

    input: int
    output: int
    saved_ratio: float | None = None


class Spec(ApiModel, extra="allow"):  # options that a newer server adds are there as well
    """The settings of one rendition; a batch's first spec is named `main`."""

    name: str
    quality: int
    format: str
    max_width: int | None
    max_height: int | None
    fit: str | None = None  # from here on, a server of an earlier version has none
    width: int | None = None
    height: int | None = None
    trim: bool = False
    margin: int = 0
    background: str
    keep_metadata: str


class Warning(ApiModel):  # noqa: A001  # the name in the API
    """A flaw in the CSV that did not prevent its acceptance."""

    code: str
    detail: str
    row: int | None
    column: str | None
    value: str | None


Columns: TypeAlias = dict[str, str | list[str] | None]
"""The header of each recognised column; of the image columns the first, and as `image_columns` all."""


class Manifest(ApiModel):
    """The CSV as it was read; `warnings` has the first 100 of `warnings_total`.

    `columns` has the headers that were recognised, with the help of `preset`; both may be None. `source_url` is where
    the server fetched the file itself.
    """

    filename: str | None
    sha256: str
    encoding: str
    delimiter: str
    format: str = "csv"
    sheet: str | None = None
    preset: str | None = None
    columns: Columns | None = None
    source_url: str | None = None
    warnings: list[Warning]
    warnings_total: int


class Webhook(ApiModel):
    """The webhook that reports the end; `status` is `pending`, `delivered` or `exhausted`."""

    url: str
    status: str
    attempts: int


class Changes(ApiModel):
    """The rows by what happened to them since the version before, which is that of the batch `compared_with`."""

    compared_with: str | None
    new: int
    changed: int
    unchanged: int
    gone: int


class Links(ApiModel):
    self: str
    products: str
    output: str | None = None
    output_csv: str
    failures_csv: str
    changes_csv: str | None = None
    checks_csv: str | None = None  # a server of an earlier version has none
    events: str
    archive_zip: str


class State(ApiModel):
    """The status and progress of a batch; `errors_by_code` counts failed images by error code."""

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
    """An accepted CSV with its status and progress; `expires_at` is when it is removed, or None.

    `changes` is None without `catalogue`, and until the batch has ended.
    """

    specs: list[Spec]
    manifest: Manifest
    catalogue: str | None = None
    changes: Changes | None = None
    webhook: Webhook | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    links: Links


class BatchPage(ApiModel):
    data: list[Batch]
    next: str | None


class Progress(State):
    """A snapshot of a batch's progress, sent as an event."""


class Host(ApiModel):
    """A host that images would be fetched from; `assets` is their number."""

    host: str
    assets: int


class Validation(ApiModel):
    """The result of validating an upload.

    `hosts` has the 20 of `hosts_total` with the most images, `columns` the headers that were recognised.
    """

    products: int
    urls: int
    assets: int
    invalid_urls: int
    hosts: list[Host]
    hosts_total: int
    encoding: str | None = None
    delimiter: str | None = None
    format: str = "csv"
    sheet: str | None = None
    preset: str | None = None
    columns: Columns | None = None
    warnings: list[Warning]
    warnings_total: int

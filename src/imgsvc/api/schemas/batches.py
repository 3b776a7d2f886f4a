"""The wire: what goes out as JSON. Names here are a promise; no table is ever returned."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from imgsvc.db.queries.batches import BatchProgress
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import BatchStatus, DeliveryStatus
from imgsvc.services.access.links import Links
from imgsvc.services.batches.progress import counts, progress, transfer


class AssetCounts(BaseModel):
    """Sums to `total` at every read."""

    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int


class Counts(BaseModel):
    products: int = Field(description="Data rows of the CSV.")
    urls: int = Field(description="URLs of the CSV, repeated ones too.")
    assets: AssetCounts = Field(description="Distinct URLs, by status.")


class Bytes(BaseModel):
    """Of the assets that succeeded."""

    input: int
    output: int
    saved_ratio: float | None = Field(description="Share of the bytes that was saved.")


class Warning(BaseModel):  # noqa: A001  # the field's own word; nobody needs the built-in here
    """Something odd in the CSV that was accepted all the same."""

    row: int | None
    column: str | None
    code: str
    value: str | None
    detail: str


class ManifestOut(BaseModel):
    """How the CSV was read."""

    filename: str | None
    sha256: str
    encoding: str
    delimiter: str
    warnings: list[Warning] = Field(description="At most 100 of them.")
    warnings_total: int


class WebhookOut(BaseModel):
    url: str
    status: DeliveryStatus
    attempts: int


class LinksOut(BaseModel):
    self: str
    products: str
    events: str
    output_csv: str
    failures_csv: str
    archive_zip: str


class BatchOut(BaseModel):
    """One accepted CSV and how far it is."""

    id: str = Field(examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    object: Literal["batch"] = "batch"
    status: BatchStatus
    specs: list[Spec] = Field(description="What every image is compressed to.")
    counts: Counts
    progress: float = Field(description="Share of assets that have ended, 0 to 1.", examples=[0.953])
    bytes: Bytes
    errors_by_code: dict[str, int] = Field(description="Failed assets by cause.", examples=[{"http_404": 3}])
    manifest: ManifestOut
    webhook: WebhookOut | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When it will be removed; null while batches are kept for good.")
    links: LinksOut


class ProgressOut(BaseModel):
    """How far a batch is: the data of an event."""

    id: str
    object: Literal["progress"] = "progress"
    status: BatchStatus
    counts: Counts
    progress: float
    bytes: Bytes
    errors_by_code: dict[str, int]


class BatchPage(BaseModel):
    data: list[BatchOut] = Field(description="The newest first.")
    has_more: bool
    next: str | None = Field(description="What to pass as `after` for the next page.")


def batch_out(batch: Batch, delivery: Delivery | None, links: Links) -> BatchOut:
    """The batch as the API shows it."""
    return BatchOut(
        id=batch.id,
        status=BatchStatus(batch.status),
        specs=[Spec.model_validate(spec) for spec in batch.specs],
        counts=Counts.model_validate(counts(batch)),
        progress=progress(batch),
        bytes=Bytes.model_validate(transfer(batch)),
        errors_by_code=batch.errors,
        manifest=ManifestOut(
            filename=batch.filename,
            sha256=batch.manifest_sha256,
            encoding=batch.encoding,
            delimiter=batch.delimiter,
            warnings=[Warning(**warning) for warning in batch.warnings],
            warnings_total=batch.warnings_total,
        ),
        webhook=_webhook(batch, delivery),
        metadata=batch.extra,
        created_at=batch.created_at,
        started_at=batch.started_at,
        finished_at=batch.finished_at,
        expires_at=batch.expires_at,
        links=LinksOut(
            self=links.batch(batch.id),
            products=links.products(batch.id),
            events=links.events(batch.id),
            output_csv=links.report(batch.id, "output.csv"),
            failures_csv=links.report(batch.id, "failures.csv"),
            archive_zip=links.archive(batch.id),
        ),
    )


def progress_out(figures: BatchProgress) -> ProgressOut:
    """The figures as an event shows them."""
    return ProgressOut(
        id=figures.id,
        status=BatchStatus(figures.status),
        counts=Counts.model_validate(counts(figures)),
        progress=progress(figures),
        bytes=Bytes.model_validate(transfer(figures)),
        errors_by_code=figures.errors,
    )


def _webhook(batch: Batch, delivery: Delivery | None) -> WebhookOut | None:
    if batch.webhook_url is None:
        return None
    status = DeliveryStatus(delivery.status) if delivery else DeliveryStatus.PENDING
    return WebhookOut(url=batch.webhook_url, status=status, attempts=delivery.attempts if delivery else 0)

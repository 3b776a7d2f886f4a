"""The JSON of batches. Its names are part of the public API; tables are never returned directly."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from imgsvc.api.schemas.manifests import ManifestOut, manifest_out
from imgsvc.db.queries.batches import BatchProgress
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import BatchStatus, DeliveryStatus
from imgsvc.services.access.links import Links
from imgsvc.services.batches.changes import has_changes
from imgsvc.services.batches.progress import counts, progress, transfer


class AssetCounts(BaseModel):
    """The assets by status; the counts always add up to `total`."""

    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int


class Counts(BaseModel):
    products: int = Field(description="Data rows of the CSV.")
    urls: int = Field(description="URLs of the CSV, including repeated ones.")
    assets: AssetCounts = Field(description="Distinct URLs, by status.")


class Bytes(BaseModel):
    """The bytes of the assets that succeeded."""

    input: int
    output: int
    saved_ratio: float | None = Field(description="The share of the input bytes that was saved.")


class WebhookOut(BaseModel):
    url: str
    status: DeliveryStatus
    attempts: int


class ChangesOut(BaseModel):
    """The rows of a version of a catalogue, by what happened to them since the version before."""

    compared_with: str | None = Field(
        description="The batch with the version before, the newest that had ended with images; null: there is none."
    )
    new: int
    changed: int = Field(description="Rows with other cells or other addresses.")
    unchanged: int
    gone: int = Field(description="Rows that only the version before has.")


class LinksOut(BaseModel):
    self: str
    products: str
    events: str
    output: str = Field(description="The output in the format of the upload.")
    output_csv: str
    failures_csv: str
    changes_csv: str | None = Field(description="null without `catalogue`.")
    archive_zip: str


class BatchOut(BaseModel):
    """One accepted CSV and its progress."""

    id: str = Field(examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    object: Literal["batch"] = "batch"
    status: BatchStatus
    specs: list[Spec] = Field(description="The renditions made of every image.")
    counts: Counts
    progress: float = Field(description="The share of assets that are finished, from 0 to 1.", examples=[0.953])
    bytes: Bytes
    errors_by_code: dict[str, int] = Field(
        description="The number of failed assets by error code.", examples=[{"http_404": 3}]
    )
    manifest: ManifestOut
    catalogue: str | None = Field(description="Your name for what this batch is a version of.")
    changes: ChangesOut | None = Field(description="null without `catalogue`, and until the batch has ended.")
    webhook: WebhookOut | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the batch will be deleted; null if batches are kept forever.")
    links: LinksOut


class ProgressOut(BaseModel):
    """The progress of a batch: the data of an event."""

    id: str
    object: Literal["progress"] = "progress"
    status: BatchStatus
    counts: Counts
    progress: float
    bytes: Bytes
    errors_by_code: dict[str, int]


class BatchPage(BaseModel):
    data: list[BatchOut] = Field(description="Newest first.")
    has_more: bool
    next: str | None = Field(description="The value of `after` for the next page.")


def batch_out(batch: Batch, delivery: Delivery | None, links: Links) -> BatchOut:
    """Convert a batch to its JSON."""
    manifest = manifest_out(batch)
    return BatchOut(
        id=batch.id,
        status=BatchStatus(batch.status),
        specs=[Spec.model_validate(spec) for spec in batch.specs],
        counts=Counts.model_validate(counts(batch)),
        progress=progress(batch),
        bytes=Bytes.model_validate(transfer(batch)),
        errors_by_code=batch.errors,
        manifest=manifest,
        catalogue=batch.catalogue,
        changes=ChangesOut.model_validate(batch.changes) if has_changes(batch) else None,
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
            output=links.report(batch.id, f"output.{manifest.format}"),
            output_csv=links.report(batch.id, "output.csv"),
            failures_csv=links.report(batch.id, "failures.csv"),
            changes_csv=links.report(batch.id, "changes.csv") if batch.catalogue else None,
            archive_zip=links.archive(batch.id),
        ),
    )


def progress_out(batch: BatchProgress) -> ProgressOut:
    """Convert the progress of a batch to the JSON of an event."""
    return ProgressOut(
        id=batch.id,
        status=BatchStatus(batch.status),
        counts=Counts.model_validate(counts(batch)),
        progress=progress(batch),
        bytes=Bytes.model_validate(transfer(batch)),
        errors_by_code=batch.errors,
    )


def _webhook(batch: Batch, delivery: Delivery | None) -> WebhookOut | None:
    if batch.webhook_url is None:
        return None
    status = DeliveryStatus(delivery.status) if delivery else DeliveryStatus.PENDING
    return WebhookOut(url=batch.webhook_url, status=status, attempts=delivery.attempts if delivery else 0)

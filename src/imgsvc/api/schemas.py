"""The wire: what goes out as JSON. Names here are a promise; no table is ever returned."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.tables import Batch, Delivery
from imgsvc.domain.specs import Spec
from imgsvc.domain.status import AssetStatus, BatchStatus, DeliveryStatus
from imgsvc.services.batches import ProductView
from imgsvc.services.links import Links
from imgsvc.services.reports import output_url
from imgsvc.services.summaries import counts, progress, transfer


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
    output_csv: str


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


class AssetError(BaseModel):
    code: str = Field(examples=["http_404"])
    http_status: int | None = Field(examples=[404])
    detail: str = Field(examples=["The server has no such image (HTTP 404)."])


class AssetOut(BaseModel):
    """One image URL of a product."""

    input_url: str
    status: AssetStatus
    output_url: str | None
    action: str | None = Field(
        description=(
            "`compressed`, `kept_original` where compressing would not save bytes, or `reused`: made in an earlier "
            "batch, and not changed at its origin since."
        )
    )
    input_format: str | None
    output_format: str | None
    width: int | None
    height: int | None
    input_bytes: int | None
    output_bytes: int | None
    error: AssetError | None


class ProductOut(BaseModel):
    """One data row of the CSV."""

    position: int = Field(description="Place among the data rows, from 0.")
    serial_number: str
    product_name: str
    input_urls: list[str]
    output_urls: list[str | None] = Field(description="In the order of `input_urls`; null where there is none (yet).")
    assets: list[AssetOut]


class ProductPage(BaseModel):
    data: list[ProductOut]
    has_more: bool
    next: int | None = Field(description="What to pass as `after` for the next page.")


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
            output_csv=links.output_csv(batch.id),
        ),
    )


def _webhook(batch: Batch, delivery: Delivery | None) -> WebhookOut | None:
    if batch.webhook_url is None:
        return None
    status = DeliveryStatus(delivery.status) if delivery else DeliveryStatus.PENDING
    return WebhookOut(url=batch.webhook_url, status=status, attempts=delivery.attempts if delivery else 0)


def product_out(view: ProductView, links: Links) -> ProductOut:
    """The product with its assets, in URL order."""
    assets = [_asset(asset, links) for asset in view.assets]
    return ProductOut(
        position=view.product.position,
        serial_number=view.product.serial_number,
        product_name=view.product.product_name,
        input_urls=[asset.input_url for asset in assets],
        output_urls=[asset.output_url for asset in assets],
        assets=assets,
    )


def _asset(asset: SlotAsset, links: Links) -> AssetOut:
    main: dict[str, Any] = (asset.renditions or [{}])[0]
    return AssetOut(
        input_url=asset.origin_url,
        status=AssetStatus(asset.status),
        output_url=output_url(asset, "main", links),
        action=main.get("action"),
        input_format=asset.input_format,
        output_format=main.get("format"),
        width=main.get("width"),
        height=main.get("height"),
        input_bytes=asset.input_bytes,
        output_bytes=main.get("bytes"),
        error=AssetError(code=asset.error_code, http_status=asset.http_status, detail=asset.error_detail or "")
        if asset.error_code
        else None,
    )

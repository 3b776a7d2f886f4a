"""The JSON of products and the results of their images."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from imgsvc.db.queries.assets import SlotAsset
from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.model import by_column
from imgsvc.domain.status import AssetStatus
from imgsvc.services.access.links import Links
from imgsvc.services.batches.changes import change_of
from imgsvc.services.batches.read import ProductView, file_format
from imgsvc.services.results.report import output_url


class AssetError(BaseModel):
    code: str = Field(examples=["http_404"])
    http_status: int | None = Field(examples=[404])
    detail: str = Field(examples=["The server has no such image (HTTP 404)."])


Action = Annotated[
    Literal["compressed", "kept_original", "reused"],
    Field(
        description=(
            "`compressed`; `kept_original` if compressing would not save bytes; `reused` if an earlier batch made the "
            "rendition and the image has not changed since."
        )
    ),
]


class RenditionOut(BaseModel):
    """One compressed version of an image, made by the spec of the same name."""

    name: str = Field(examples=["main"])
    url: str
    action: Action
    format: str = Field(examples=["jpeg"])
    width: int
    height: int
    bytes: int


class AssetOut(BaseModel):
    """One image URL of a product; the output fields describe the rendition `main`."""

    input_url: str
    column: str = Field(description="The header of the image column that contains the URL.", examples=["Images"])
    status: AssetStatus
    output_url: str | None
    action: Action | None
    input_format: str | None
    output_format: str | None
    width: int | None
    height: int | None
    input_bytes: int | None
    output_bytes: int | None
    renditions: list[RenditionOut] = Field(
        description="In the order of the batch's `specs`; empty unless the image succeeded."
    )
    error: AssetError | None


class ProductOut(BaseModel):
    """One data row of the CSV."""

    position: int = Field(description="The index of the data row, from 0.")
    serial_number: str
    product_name: str
    input_urls: list[str]
    output_urls: list[str | None] = Field(description="In the order of `input_urls`; null if there is no image (yet).")
    assets: list[AssetOut]
    change: Literal["new", "changed", "unchanged"] | None = Field(
        description="What happened to the row since the version before; null unless the batch was compared with one."
    )


class ProductPage(BaseModel):
    data: list[ProductOut]
    has_more: bool
    next: int | None = Field(description="The value of `after` for the next page.")


def product_out(view: ProductView, batch: Batch, links: Links) -> ProductOut:
    """Convert a product of `batch` to its JSON, with its assets in URL order."""
    image_headers = [batch.header[index] for index in file_format(batch).url_columns]
    by_header = zip(image_headers, by_column(view.assets, view.product.slot_counts), strict=True)
    assets = [_asset(asset, header, links) for header, assets in by_header for asset in assets]
    return ProductOut(
        position=view.product.position,
        serial_number=view.product.serial_number,
        product_name=view.product.product_name,
        input_urls=[asset.input_url for asset in assets],
        output_urls=[asset.output_url for asset in assets],
        assets=assets,
        change=change_of(batch, view.product),
    )


def _asset(asset: SlotAsset, header: str, links: Links) -> AssetOut:
    entries = asset.renditions if asset.renditions and asset.status == AssetStatus.SUCCEEDED else []
    main: dict[str, Any] = next(iter(entries), {})
    return AssetOut(
        input_url=asset.origin_url,
        column=header,
        status=AssetStatus(asset.status),
        output_url=output_url(asset, "main", links),
        action=main.get("action"),
        input_format=asset.input_format,
        output_format=main.get("format"),
        width=main.get("width"),
        height=main.get("height"),
        input_bytes=asset.input_bytes,
        output_bytes=main.get("bytes"),
        renditions=[RenditionOut.model_validate({**entry, "url": links.media(entry["key"])}) for entry in entries],
        error=AssetError(code=asset.error_code, http_status=asset.http_status, detail=asset.error_detail or "")
        if asset.error_code
        else None,
    )

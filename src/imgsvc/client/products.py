"""Models of products and the results of their images."""

from imgsvc.client.problems import ApiModel


class Rendition(ApiModel):
    """One compressed version of an image; `action` is `compressed`, `kept_original` or `reused`."""

    name: str
    url: str
    action: str
    format: str
    width: int
    height: int
    bytes: int


class AssetError(ApiModel):
    """The reason why an image failed: a stable `code`, and a sentence."""

    code: str
    detail: str
    http_status: int | None = None


class Asset(ApiModel):
    """One image URL of a product; the output fields describe the rendition `main`, `error` the failure."""

    input_url: str
    column: str | None = None
    """The header of the image column that contains the URL."""
    status: str
    output_url: str | None
    action: str | None
    input_format: str | None
    output_format: str | None
    width: int | None
    height: int | None
    input_bytes: int | None
    output_bytes: int | None
    renditions: list[Rendition]
    error: AssetError | None


class Product(ApiModel):
    """One row of the CSV; `position` counts from 0, `assets` are in the order of its URLs."""

    position: int
    serial_number: str
    product_name: str
    input_urls: list[str]
    output_urls: list[str | None]
    assets: list[Asset]
    change: str | None = None
    """`new`, `changed` or `unchanged` since the version before; None unless the batch was compared."""


class ProductPage(ApiModel):
    data: list[Product]
    next: int | None

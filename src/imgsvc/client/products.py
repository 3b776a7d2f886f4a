"""Products as the server sends them: what became of each image."""

from imgsvc.client.problems import Wire


class Rendition(Wire):
    """One image made of an image; `action` is `compressed`, `kept_original` or `reused`."""

    name: str
    url: str
    action: str
    format: str
    width: int
    height: int
    bytes: int


class AssetError(Wire):
    """Why there is no image: a stable `code`, and a sentence."""

    code: str
    detail: str
    http_status: int | None = None


class Asset(Wire):
    """One slot of a product; `error` says why it is empty. What is said of its output is true of `main`."""

    input_url: str
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


class Product(Wire):
    """One row of the CSV; `position` counts from 0, `assets` are in the order of its URLs."""

    position: int
    serial_number: str
    product_name: str
    input_urls: list[str]
    output_urls: list[str | None]
    assets: list[Asset]


class ProductPage(Wire):
    data: list[Product]
    next: int | None

"""What the server sends, as far as the client reads it."""

from pydantic import BaseModel, ConfigDict

_TERMINAL = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})


class Wire(BaseModel):
    """What the server sends; what a newer one adds is left out."""

    model_config = ConfigDict(frozen=True)


class AssetCounts(Wire):
    total: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    cancelled: int


class Counts(Wire):
    products: int
    urls: int
    assets: AssetCounts


class Bytes(Wire):
    """Of the images that succeeded."""

    input: int
    output: int


class Links(Wire):
    output_csv: str


class Batch(Wire):
    """An accepted CSV and how far it is."""

    id: str
    status: str
    counts: Counts
    bytes: Bytes
    errors_by_code: dict[str, int]
    links: Links

    @property
    def has_ended(self) -> bool:
        return self.status in _TERMINAL


class AssetError(Wire):
    code: str
    detail: str


class Asset(Wire):
    """One slot of a product; `error` says why it is empty."""

    input_url: str
    output_url: str | None
    status: str
    action: str | None
    input_bytes: int | None
    output_bytes: int | None
    error: AssetError | None


class Product(Wire):
    serial_number: str
    product_name: str
    assets: list[Asset]


class ProductPage(Wire):
    data: list[Product]
    next: int | None


class ProblemError(Wire):
    """One thing wrong with an upload; `row` is the line of the CSV."""

    detail: str
    row: int | None = None
    value: str | None = None


class Problem(Wire):
    """Why a request was refused (RFC 9457); `errors` lists the first of `errors_total`."""

    title: str | None = None
    detail: str | None = None
    errors: list[ProblemError] = []
    errors_total: int = 0

"""What an upload says: its products, their distinct addresses, and the limits of both."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from imgsvc.errors import Problem

OnInvalid = Literal["reject", "skip"]


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """The first four are settings. The last bounds memory: 10 million cells of two characters take 0.65 GB."""

    max_rows: int = 200_000
    max_assets: int = 250_000
    max_urls_per_row: int = 100
    max_url_length: int = 2_048
    max_cells: int = 10_000_000


class Product(NamedTuple):
    """One row; `slots` are positions of assets in URL order, repeats kept.

    `cells` are as uploaded, except that an unquoted list of URLs that ran over several cells is one cell again, a short
    row is filled up to the header's width, and blank cells beyond it are dropped.
    """

    serial_number: str
    product_name: str
    cells: tuple[str, ...]
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an upload says. `assets` are the distinct URLs in the order they first appear; a slot is an index into it.

    `header` is as wide as the widest row; it ends with the URL column where only blank header cells follow. The columns
    are indexes into it; without a serial column the products are numbered. `invalid`
    says what is wrong with an asset's URL, by position; it is empty unless invalid URLs are skipped. `warnings` has at
    most 100 of the `warnings_total`.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    serial_column: int | None
    name_column: int
    url_column: int
    products: list[Product]
    assets: list[str]
    invalid: dict[int, str]
    url_count: int
    warnings: list[Problem]
    warnings_total: int


DEFAULT_LIMITS = ManifestLimits()

"""The content of an upload: its products, their distinct URLs, and the limits of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.errors import Problem

T = TypeVar("T")
OnInvalid = Literal["reject", "skip"]


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """Limits of an upload. All are settings except `max_cells`, which bounds memory: 10 million cells of two characters
    take 0.65 GB."""

    max_rows: int = 200_000
    max_assets: int = 250_000
    max_urls_per_row: int = 100
    max_url_length: int = 2_048
    max_cells: int = 10_000_000


class ManifestProduct(NamedTuple):
    """One row; `slots` are the positions of its assets in URL order, including repeats.

    With several image columns, `slot_counts` has the number of slots of each, in the order of the columns. `source` is
    the text of the row and of the blank rows after it, if it is kept.

    `cells` are as uploaded, except that an unquoted list of URLs that spilled into several cells is joined again, a
    short row is padded to the header's width, and blank cells beyond it are dropped.
    """

    serial_number: str
    product_name: str
    cells: tuple[str, ...]
    slots: tuple[int, ...]
    slot_counts: tuple[int, ...] | None = None
    source: str | None = None


def by_column(items: Sequence[T], counts: Sequence[int] | None) -> list[Sequence[T]]:
    """Split one item per slot of a row into those of each image column; without `counts` there is one column."""
    if counts is None:
        return [items]
    rest = iter(items)
    return [list(islice(rest, count)) for count in counts]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of an upload. `assets` has the distinct URLs, in order of first appearance; slots are indexes.

    `header` has the width of the widest row; it ends with the last image column if only blank header cells follow, and
    `file_format` has the indexes of the columns. `invalid` maps the position of each invalid URL to its error; it is
    empty unless invalid URLs are skipped. `warnings` lists at most 100 of `warnings_total`.
    """

    encoding: str
    delimiter: str
    file_format: FileFormat
    header: tuple[str, ...]
    products: list[ManifestProduct]
    assets: list[str]
    invalid: dict[int, str]
    url_count: int
    warnings: list[Problem]
    warnings_total: int


DEFAULT_LIMITS = ManifestLimits()

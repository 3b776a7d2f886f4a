"""The CSV in: bytes to products and distinct assets, or every reason why not."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from imgsvc.domain.columns import Columns, Layout, find_layout
from imgsvc.domain.records import MAX_PROBLEMS, MAX_VALUE, open_source, over_limit, records, refused
from imgsvc.domain.urls import complete, split_cell, why_invalid
from imgsvc.errors import InvalidManifest, Problem

__all__ = ["Columns", "Manifest", "ManifestLimits", "OnInvalid", "Product", "read_manifest"]

OnInvalid = Literal["reject", "skip"]


@dataclass(frozen=True, slots=True)
class ManifestLimits:
    """The first four are settings. The last bounds memory: 10 million cells of two characters take 0.65 GB."""

    max_rows: int = 200_000
    max_assets: int = 250_000
    max_urls_per_row: int = 100
    max_url_length: int = 2_048
    max_cells: int = 10_000_000


DEFAULT_LIMITS = ManifestLimits()


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

    `header` is as wide as the widest row; it ends with the URL column where only blank header cells follow. `invalid`
    says what is wrong with an asset's URL, by position; it is empty unless invalid URLs are skipped. `warnings` has at
    most 100 of the `warnings_total`.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    url_column: int
    products: list[Product]
    assets: list[str]
    invalid: dict[int, str]
    url_count: int
    warnings: list[Problem]
    warnings_total: int


def read_manifest(
    data: bytes,
    *,
    columns: Columns | None = None,
    on_invalid: OnInvalid = "reject",
    limits: ManifestLimits = DEFAULT_LIMITS,
) -> Manifest:
    """Read an uploaded CSV; CPU-bound, 2 to 3 s for 200,000 rows: call it from a worker thread.

    Raises:
        InvalidManifest: with every problem of the file, at most 100 of them listed.
        LimitExceeded: the first limit that the file is over.
    """
    source = open_source(data)
    layout = find_layout(source, columns)
    rows = _Rows(layout, limits, reject=on_invalid == "reject")
    lines = records(source, layout.delimiter)
    next(lines)  # the header
    try:
        for line, cells in lines:
            rows.add(line, cells)
    except InvalidManifest as exc:  # nothing behind this place can be read
        rows.problems.add(exc.problems[0], first=True)
    else:
        rows.check_not_empty()
    if rows.problems.total:
        raise refused(rows.problems.listed, rows.problems.total)
    return rows.manifest(source.encoding)


class _Findings:
    """Problems or warnings: the first hundred, and how many there are in all."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.total = 0

    def add(self, problem: Problem, *, first: bool = False) -> None:
        self.total += 1
        if first:
            self.listed.insert(0, problem)
        elif self.total <= MAX_PROBLEMS:
            self.listed.append(problem)


class _Rows:
    """What has been gathered from the rows read so far."""

    def __init__(self, layout: Layout, limits: ManifestLimits, *, reject: bool) -> None:
        # An unquoted list of URLs runs over into the cells behind its own, where no other column can claim them.
        self.spills = not any(cell.strip() for cell in layout.header[layout.image_urls + 1 :])
        self.header = layout.header[: layout.image_urls + 1] if self.spills else layout.header
        self.url_header = layout.header[layout.image_urls][:MAX_VALUE]
        self.width = len(self.header)
        self.layout, self.limits, self.reject = layout, limits, reject
        self.products: list[Product] = []
        self.positions: dict[str, int] = {}
        self.faults: dict[int, tuple[str, str]] = {}
        self.serials: set[str] = set()
        self.url_count = self.cell_count = 0
        self.problems, self.warnings = _Findings(), _Findings()

    def add(self, line: int, cells: list[str]) -> None:
        """Take in the record that begins on `line`; its cells may be rearranged."""
        layout = self.layout
        if len(cells) != len(self.header):
            self._shape(line, cells)
        self.cell_count += len(cells)
        self._check_limits(line)
        serial = str(len(self.products) + 1) if layout.serial_number is None else cells[layout.serial_number].strip()
        name = cells[layout.product_name].strip()
        slots = self._slots(line, cells[layout.image_urls])
        self._check(line, serial, name, slots)
        self.products.append(Product(serial, name, tuple(cells), slots))

    def _shape(self, line: int, cells: list[str]) -> None:
        own = len(self.header)
        while len(cells) > own and not cells[-1].strip():
            cells.pop()
        if len(cells) <= own:
            cells.extend([""] * (own - len(cells)))
        elif self.spills:
            cells[own - 1 :] = [self.layout.delimiter.join(cells[own - 1 :])]
        else:
            self.width = max(self.width, len(cells))
            self._warn("extra_cells", f"The row has {len(cells)} cells, the header {own}.", line)

    def _check_limits(self, line: int) -> None:
        limits = self.limits
        if len(self.products) >= limits.max_rows:
            raise over_limit(f"The CSV has more than {limits.max_rows:,} rows (setting IMGSVC_MAX_ROWS).", row=line)
        if self.cell_count > limits.max_cells:
            raise over_limit(f"The CSV has more than {limits.max_cells:,} cells.", row=line)

    def _slots(self, line: int, cell: str) -> tuple[int, ...]:
        pieces = split_cell(cell)
        self.url_count += len(pieces)
        most = self.limits.max_urls_per_row
        if len(pieces) > most:
            raise over_limit(f"Line {line} has more than {most:,} URLs (setting IMGSVC_MAX_URLS_PER_ROW).", row=line)
        slots = []
        for piece in pieces:
            url = complete(piece)
            position = self.positions.get(url)
            if position is None:
                position = self._admit(line, url)
            if self.reject and position in self.faults:
                code, detail = self.faults[position]
                self.problems.add(Problem(code, detail, line, self.url_header, piece[:MAX_VALUE]))
            slots.append(position)
        return tuple(slots)

    def _admit(self, line: int, url: str) -> int:
        position, limits = len(self.positions), self.limits
        if position >= limits.max_assets:
            most = f"{limits.max_assets:,} distinct URLs (setting IMGSVC_MAX_ASSETS)"
            raise over_limit(f"The CSV has more than {most}.", row=line)
        self.positions[url] = position
        if len(url) > limits.max_url_length:
            most = f"{limits.max_url_length:,} (setting IMGSVC_MAX_URL_LENGTH)"
            self.faults[position] = ("url_too_long", f"The address has {len(url):,} characters, more than {most}.")
        elif detail := why_invalid(url):
            self.faults[position] = ("invalid_url", detail)
        return position

    def _check(self, line: int, serial: str, name: str, slots: tuple[int, ...]) -> None:
        for cell in (serial, name):
            if "://" in cell and len(cell.splitlines()) > 1:
                detail = (
                    "The cell goes on over several rows: a quotation mark before it is not closed where it should be."
                )
                self.problems.add(Problem("unclosed_quote", detail, line, value=cell[:MAX_VALUE]))
        if not serial:
            self._warn("missing_serial_number", "The row has no serial number.", line)
        elif serial in self.serials:
            self._warn("repeated_serial_number", "An earlier row has the same serial number.", line, serial)
        if not name:
            self._warn("missing_product_name", "The row has no product name.", line)
        if not slots:
            self._warn("product_without_url", "The row has no image URL.", line)
        self.serials.add(serial)

    def _warn(self, code: str, detail: str, line: int, value: str | None = None) -> None:
        self.warnings.add(Problem(code, detail, line, value=value and value[:MAX_VALUE]))

    def check_not_empty(self) -> None:
        if not self.products:
            self.problems.add(Problem("no_rows", "The CSV has a header but no rows."))
        elif not self.url_count:
            detail = f"No row has an image URL in the column `{self.url_header}`."
            self.problems.add(Problem("no_urls", detail, column=self.url_header))

    def manifest(self, encoding: str) -> Manifest:
        return Manifest(
            encoding=encoding.removesuffix("-sig"),
            delimiter=self.layout.delimiter,
            header=tuple(self.header) + ("",) * (self.width - len(self.header)),
            url_column=self.layout.image_urls,
            products=self.products,
            assets=list(self.positions),
            invalid={position: detail for position, (_, detail) in self.faults.items()},
            url_count=self.url_count,
            warnings=self.warnings.listed,
            warnings_total=self.warnings.total,
        )

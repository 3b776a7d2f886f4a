"""Builds a manifest row by row: products, their distinct URLs, problems and warnings."""

from collections.abc import Sequence

from imgsvc.domain.manifest.columns import ColumnLayout
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.model import Manifest, ManifestLimits, ManifestProduct
from imgsvc.domain.manifest.records import MAX_PROBLEMS, MAX_VALUE, over_limit
from imgsvc.domain.manifest.urls import add_scheme, join_cell, split_cell, starts_with_url, url_problem
from imgsvc.errors import LimitExceeded, Problem


class ProblemList:
    """Problems or warnings: the first hundred, and their total number."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.total = 0

    def add(self, problem: Problem, *, first: bool = False) -> None:
        self.total += 1
        if first:
            self.listed.insert(0, problem)
        elif self.total <= MAX_PROBLEMS:
            self.listed.append(problem)


def too_many_rows(limits: ManifestLimits, *, row: int | None = None) -> LimitExceeded:
    detail = f"The catalogue has more than {limits.max_rows:,} rows (setting IMGSVC_MAX_ROWS). Split it."
    return over_limit(detail, row=row)


class ManifestBuilder:
    """Collects the rows of an upload, in order."""

    def __init__(
        self, layout: ColumnLayout, limits: ManifestLimits, *, reject: bool, url_field: str | None = None
    ) -> None:
        """Report invalid URLs as problems if `reject`; `url_field`, if given, replaces the header of their column."""
        # An unquoted list of URLs spills into the cells after it, which can be joined again if no other column follows.
        end = max(layout.image_urls) + 1
        self.joins_spilled_cells = not any(cell.strip() for cell in layout.header[end:])
        self.header = layout.header[:end] if self.joins_spilled_cells else layout.header
        self.url_headers = [url_field or layout.header[index][:MAX_VALUE] for index in layout.image_urls]
        self.width = len(self.header)
        self.layout, self.limits, self.reject = layout, limits, reject
        self.products: list[ManifestProduct] = []
        self.lines: list[int] = []
        """The line on which each product begins."""
        self.positions: dict[str, int] = {}
        self.invalid: dict[int, tuple[str, str]] = {}
        self.serials: set[str] = set()
        self.url_count = self.cell_count = 0
        self.problems, self.warnings = ProblemList(), ProblemList()

    def add(self, line: int, cells: list[str]) -> None:
        """Add the record that begins on `line`; modifies `cells` to fit the header."""
        layout = self.layout
        if len(cells) != len(self.header):
            self._fit_to_header(line, cells)
        self.cell_count += len(cells)
        serial = None if layout.serial_number is None else cells[layout.serial_number].strip()
        name = cells[layout.product_name].strip()
        self._check_quotes(line, serial or "", name)
        pieces = [split_cell(cells[index]) for index in layout.image_urls]
        if layout.keeps_text:
            pieces = [list(filter(starts_with_url, each)) for each in pieces]
        self._add(line, serial, name, cells, pieces)

    def add_product(self, number: int, serial: str | None, name: str, urls: Sequence[str]) -> None:
        """Add product `number`, counted from 1; without a `serial`, the number is its serial number."""
        cells = [str(number) if serial is None else serial, name, join_cell(urls)]
        if any("\0" in cell for cell in cells):
            self.problems.add(Problem("nul_byte", "The product contains a NUL character.", number))
        self._add(number, cells[0].strip(), name.strip(), cells, [[url.strip() for url in urls]])

    def _add(self, line: int, serial: str | None, name: str, cells: list[str], urls: Sequence[Sequence[str]]) -> None:
        """Add a row with the `urls` of each image column."""
        self._check_limits(line)
        serial = str(len(self.products) + 1) if serial is None else serial
        slots = self._slots(line, urls)
        self._warn_about(line, serial, name, slots)
        counts = tuple(map(len, urls)) if len(urls) > 1 else None
        self.lines.append(line)
        self.products.append(ManifestProduct(serial, name, tuple(cells), slots, counts))

    def _fit_to_header(self, line: int, cells: list[str]) -> None:
        width = len(self.header)
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) <= width:
            cells.extend([""] * (width - len(cells)))
        elif self.joins_spilled_cells:
            cells[width - 1 :] = [self.layout.delimiter.join(cells[width - 1 :])]
        else:
            self.width = max(self.width, len(cells))
            self._warn("extra_cells", f"The row has {len(cells)} cells, but the header has {width}.", line)

    def _check_limits(self, line: int) -> None:
        limits = self.limits
        if len(self.products) >= limits.max_rows:
            raise too_many_rows(limits, row=line)
        if self.cell_count > limits.max_cells:
            raise over_limit(f"The catalogue has more than {limits.max_cells:,} cells. Split it.", row=line)

    def _slots(self, line: int, urls: Sequence[Sequence[str]]) -> tuple[int, ...]:
        count, limit = sum(map(len, urls)), self.limits.max_urls_per_row
        self.url_count += count
        if count > limit:
            raise over_limit(f"A row has more than {limit:,} URLs (setting IMGSVC_MAX_URLS_PER_ROW).", row=line)
        slots = []
        for header, pieces in zip(self.url_headers, urls, strict=True):
            for piece in pieces:
                url = add_scheme(piece)
                position = self.positions.get(url)
                if position is None:
                    position = self._add_url(line, url)
                if self.reject and position in self.invalid:
                    code, detail = self.invalid[position]
                    self.problems.add(Problem(code, detail, line, header, piece[:MAX_VALUE]))
                slots.append(position)
        return tuple(slots)

    def _add_url(self, line: int, url: str) -> int:
        position, limits = len(self.positions), self.limits
        if position >= limits.max_assets:
            limit = f"{limits.max_assets:,} distinct URLs (setting IMGSVC_MAX_ASSETS)"
            raise over_limit(f"The catalogue has more than {limit}. Split it.", row=line)
        self.positions[url] = position
        if problem := url_problem(url, limits):
            self.invalid[position] = problem
        return position

    def _warn_about(self, line: int, serial: str, name: str, slots: tuple[int, ...]) -> None:
        is_repeated = serial in self.serials
        self.serials.add(serial)
        if self.layout.spans_rows and (is_repeated or not name):  # the product of an earlier row continues
            return
        if not serial:
            self._warn("missing_serial_number", "The row has no serial number.", line)
        elif is_repeated:
            self._warn("repeated_serial_number", "An earlier row has the same serial number.", line, serial)
        if not name:
            self._warn("missing_product_name", "The row has no product name.", line)
        if not slots:
            self._warn("product_without_url", "The row has no image URL.", line)

    def _check_quotes(self, line: int, serial: str, name: str) -> None:
        for cell in (serial, name):
            if "://" in cell and len(cell.splitlines()) > 1:
                detail = "The cell spans several lines. Check that every quotation mark before it is closed."
                self.problems.add(Problem("unclosed_quote", detail, line, value=cell[:MAX_VALUE]))

    def _warn(self, code: str, detail: str, line: int, value: str | None = None) -> None:
        self.warnings.add(Problem(code, detail, line, value=value and value[:MAX_VALUE]))

    def check_not_empty(self, detail_if_empty: str) -> None:
        if not self.products:
            self.problems.add(Problem("no_rows", detail_if_empty))
        elif not self.url_count:
            names = " or ".join(f"`{header}`" for header in dict.fromkeys(self.url_headers))
            detail = f"No row has an image URL in the column {names}."
            if self.layout.keeps_text:
                detail += " Names of files cannot be fetched: put full addresses (https://…) in their place."
            self.problems.add(Problem("no_urls", detail, column=self.url_headers[0]))

    def manifest(self, encoding: str) -> Manifest:
        return Manifest(
            encoding=encoding.removesuffix("-sig"),
            delimiter=self.layout.delimiter,
            header=tuple(self.header) + ("",) * (self.width - len(self.header)),
            products=self.products,
            assets=list(self.positions),
            invalid={position: detail for position, (_, detail) in self.invalid.items()},
            url_count=self.url_count,
            warnings=self.warnings.listed,
            warnings_total=self.warnings.total,
            file_format=FileFormat(
                preset=self.layout.preset,
                serial_column=self.layout.serial_number,
                name_column=self.layout.product_name,
                url_columns=self.layout.image_urls,
                keeps_text=self.layout.keeps_text,
            ),
        )

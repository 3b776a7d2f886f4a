"""The header of an upload: its delimiter, and which column holds what."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field

from imgsvc.domain.manifest.records import MAX_VALUE, Source, records, refused
from imgsvc.domain.manifest.urls import starts_with_url
from imgsvc.errors import InvalidManifest, Problem


class Role(NamedTuple):
    """What a column can hold; `aliases` are in the order of preference, for headers that have several of them."""

    meaning: str
    examples: str
    aliases: str


ROLES = {
    "serial_number": Role(
        "the serial number",
        "`S. No.`, `Serial Number` or `ID`",
        "serialnumber sno srno slno serialno serial no number nr # id",
    ),
    "product_name": Role(
        "the product name",
        "`Product Name`, `Name` or `Title`",
        "productname product name sku title handle",
    ),
    "image_urls": Role(
        "the image URLs",
        "`Input Image Urls`, `image_urls` or `Image Src`",
        "inputimageurls inputimageurl imageurls imageurl images imagesrc imagelinks imagelink "
        "additionalimages additionalimagelinks additionalimagelink productimages image",
    ),
}


class Columns(BaseModel, frozen=True, extra="forbid", str_strip_whitespace=True):
    """Which column of the file holds what, by its header; capitals, blanks and punctuation do not matter."""

    serial_number: str | None = Field(
        min_length=1, description="Header of the column with the serial numbers; null numbers the products from 1."
    )
    product_name: str = Field(min_length=1, description="Header of the column with the product names.")
    image_urls: str = Field(min_length=1, description="Header of the column with the image URLs.")


class Layout(NamedTuple):
    """The header as uploaded and the index of each column; without a serial column the products are numbered."""

    delimiter: str
    header: list[str]
    serial_number: int | None
    product_name: int
    image_urls: int


class _Header(NamedTuple):
    """The header as one delimiter splits it; `found` has the columns that each role could mean: one is right."""

    delimiter: str
    line: int
    cells: list[str]
    found: dict[str, list[int]]

    def score(self) -> tuple[int, int]:
        return sum(map(bool, self.found.values())), len(self.cells)


def find_layout(source: Source, columns: Columns | None) -> Layout:
    """Read the header with the delimiter that yields the most known columns.

    Raises:
        InvalidManifest: `empty_file`, `no_header`, `missing_column`, `duplicate_column`, and what `records` raises.
        LimitExceeded: the header is too large.
    """
    headers, failures = [], []
    for delimiter in source.delimiters:
        try:
            line, cells = next(records(source, delimiter), (1, []))
        except InvalidManifest as exc:  # with another delimiter the quotes may pair up
            failures.append(exc)
        else:
            headers.append(_Header(delimiter, line, cells, _match(cells, columns)))
    best = max(headers, key=_Header.score, default=None)
    if best is None or (failures and not any(best.found.values())):
        raise failures[0]
    problems = list(_header_problems(best, columns))
    if problems:
        raise refused(problems)
    index = {role: matches[0] for role, matches in best.found.items()}
    return Layout(best.delimiter, best.cells, index.get("serial_number"), index["product_name"], index["image_urls"])


def _match(header: Sequence[str], columns: Columns | None) -> dict[str, list[int]]:
    if columns is None:
        return {role: _first_match(header, what.aliases.split()) for role, what in ROLES.items()}
    wanted = {role: name for role, name in columns if name is not None}
    return {role: _exact(header, name) or _first_match(header, [_normal(name)]) for role, name in wanted.items()}


def _exact(header: Sequence[str], name: str) -> list[int]:
    return [index for index, cell in enumerate(header) if cell.strip() == name]


def _first_match(header: Sequence[str], aliases: Sequence[str]) -> list[int]:
    names = [_normal(cell) for cell in header]
    best = next((alias for alias in aliases if alias in names), None)
    return [index for index, name in enumerate(names) if name == best]


def _normal(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower())) or name.strip()


def _header_problems(header: _Header, columns: Columns | None) -> Iterator[Problem]:
    if not header.cells:
        yield Problem("empty_file", "The file is empty.")
    elif not any(header.found.values()) and any(map(starts_with_url, header.cells)):
        yield Problem(
            "no_header", "The first row has data; a row with the columns' names belongs before it.", header.line
        )
    else:
        for role, matches in header.found.items():
            if not matches:
                wanted = ROLES[role].examples if columns is None else f"`{getattr(columns, role)}`"
                yield _missing(header, role, wanted)
            elif len(matches) > 1:
                name = header.cells[matches[0]][:MAX_VALUE]
                detail = f"{len(matches)} columns named `{name}` could hold {ROLES[role].meaning}; rename all but one."
                yield Problem("duplicate_column", detail, header.line, name)


def _missing(header: _Header, role: str, wanted: str) -> Problem:
    shown = ", ".join(f"`{cell}`" for cell in header.cells)[:MAX_VALUE]
    detail = f"There is no column for {ROLES[role].meaning}: expected {wanted}, found {shown}."
    return Problem("missing_column", f"{detail} The upload field `columns` can name it.", header.line, role, shown)

"""The header of an upload: finds its delimiter and the three required columns."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field

from imgsvc.domain.manifest.records import MAX_VALUE, Table, records, refused
from imgsvc.domain.manifest.urls import starts_with_url
from imgsvc.errors import InvalidManifest, Problem


class Role(NamedTuple):
    """The role of a column; `aliases` are in order of preference, for headers that contain several of them."""

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
    """The headers of the required columns; case, blanks and punctuation are ignored."""

    serial_number: str | None = Field(
        min_length=1, description="Header of the column with the serial numbers; null: products are numbered from 1."
    )
    product_name: str = Field(min_length=1, description="Header of the column with the product names.")
    image_urls: str = Field(min_length=1, description="Header of the column with the image URLs.")


class ColumnLayout(NamedTuple):
    """The header as uploaded and the index of each column; products are numbered if `serial_number` is None."""

    delimiter: str
    header: list[str]
    serial_number: int | None
    product_name: int
    image_urls: int


class _Header(NamedTuple):
    """The header split by one delimiter; `matches` has the candidate columns of each role, ideally one."""

    delimiter: str
    line: int
    cells: list[str]
    matches: dict[str, list[int]]

    def score(self) -> tuple[int, int]:
        return sum(map(bool, self.matches.values())), len(self.cells)


def find_layout(source: Table, columns: Columns | None) -> ColumnLayout:
    """Read the header with the delimiter that yields the most known columns.

    Raises:
        InvalidManifest: `empty_file`, `no_header`, `missing_column`, `duplicate_column`, and those of `records`.
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
    if best is None or (failures and not any(best.matches.values())):
        raise failures[0]
    problems = list(_header_problems(best, columns))
    if problems:
        raise refused(problems, unit=source.unit)
    index = {role: columns[0] for role, columns in best.matches.items()}
    return ColumnLayout(
        best.delimiter, best.cells, index.get("serial_number"), index["product_name"], index["image_urls"]
    )


def _match(header: Sequence[str], columns: Columns | None) -> dict[str, list[int]]:
    if columns is None:
        return {name: _first_match(header, role.aliases.split()) for name, role in ROLES.items()}
    names = {role: name for role, name in columns if name is not None}
    return {role: _exact_match(header, name) or _first_match(header, [_normal(name)]) for role, name in names.items()}


def _exact_match(header: Sequence[str], name: str) -> list[int]:
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
    elif not any(header.matches.values()) and any(map(starts_with_url, header.cells)):
        detail = "The first row contains data. Add a header row with the names of the columns."
        yield Problem("no_header", detail, header.line)
    else:
        for role, matches in header.matches.items():
            if not matches:
                expected = ROLES[role].examples if columns is None else f"`{getattr(columns, role)}`"
                yield _missing(header, role, expected)
            elif len(matches) > 1:
                name = header.cells[matches[0]][:MAX_VALUE]
                detail = f"{len(matches)} columns named `{name}` could hold {ROLES[role].meaning}. Rename all but one."
                yield Problem("duplicate_column", detail, header.line, name)


def _missing(header: _Header, role: str, expected: str) -> Problem:
    found = ", ".join(f"`{cell}`" for cell in header.cells)[:MAX_VALUE]
    detail = f"There is no column for {ROLES[role].meaning}: expected {expected}, found {found}."
    hint = "Rename the column, or name it in the upload field `columns`."
    return Problem("missing_column", f"{detail} {hint}", header.line, role, found)

"""CSV as text: renders rows, and changes cells of a row without changing how the others are written."""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from imgsvc.domain.manifest.file_format import Quoting

CRLF = "\r\n"
_FORMULA = re.compile(r"[\t\r\n]|[\s\ufeff\u200b-\u200f\u2060]*[=+\-@＝＋－＠]")
"""Cells that spreadsheets run as a formula (OWASP, "CSV Injection"), including full-width and zero-width characters."""
_LINE_END = re.compile(r"\r\n|\r|\n")


class TextRow(list[str]):
    """The cells of a row that is written like `source`, its text in the upload, where the cells were `original`."""

    def __init__(self, cells: Iterable[str], source: str, original: Sequence[str], width: int) -> None:
        """Cells from `width` on are in columns that the upload did not have."""
        super().__init__(cells)
        self.source, self.original, self.width = source, original, width


def render_rows(
    rows: Iterable[Sequence[str]],
    delimiter: str,
    *,
    safe: bool = False,
    line_end: str = CRLF,
    quoting: Quoting = "minimal",
) -> str:
    """Return the CSV text of `rows`; a report is rendered page by page, its header like a row.

    `safe` adds an apostrophe before each cell that a spreadsheet would run as a formula.
    """
    render = _renderer(delimiter, quoting)
    lines = []
    for row in rows:
        cells = [_escaped(cell) for cell in row] if safe else row
        lines.append(_changed(row, cells, delimiter) if isinstance(row, TextRow) else render(cells) + line_end)
    return "".join(lines)


class _Echo:
    """A file whose `write` returns the text, so that `writerow` does."""

    def write(self, text: str) -> str:
        return text


def _renderer(delimiter: str, quoting: Quoting) -> Callable[[Sequence[str]], str]:
    """Return the function that renders a row without its line end."""
    if quoting == "blanks":
        is_quoted = re.compile(rf'[{re.escape(delimiter)}"\\\r\n\t ]').search
        return lambda cells: delimiter.join([_in_quotes(cell) if is_quoted(cell) else cell for cell in cells])
    writer = csv.writer(_Echo(), delimiter=delimiter, quoting=csv.QUOTE_ALL if quoting == "all" else csv.QUOTE_MINIMAL)
    return lambda cells: writer.writerow(cells).removesuffix(CRLF)


def _escaped(cell: str) -> str:
    return "'" + cell if _FORMULA.match(cell) else cell


def split_record(text: str, delimiter: str) -> tuple[list[str], str]:
    """Return the fields of the first record of `text` as written, with their quotes, and the text after it.

    The fields are those of csv.reader with `skipinitialspace`.
    """
    fields, position, pattern = [], 0, _field(delimiter)
    while match := pattern.match(text, position):
        fields.append(match[0])
        position = match.end() + 1
        if text[match.end() : position] != delimiter:
            break
    return fields, text[position - 1 :]


@cache
def _field(delimiter: str) -> re.Pattern[str]:
    rest = rf"[^{re.escape(delimiter)}\r\n]*+"
    return re.compile(rf' *+"(?:[^"]++|"")*+(?:"{rest})?|{rest}')


def _changed(row: TextRow, cells: Sequence[str], delimiter: str) -> str:
    """Return the text of `row` with the `cells` that differ from the original ones."""
    fields, after = split_record(row.source, delimiter)
    known = len(row.original)
    added = [_quoted(cell, delimiter) for cell in cells[row.width :]]
    last = known - 1
    spilled = fields[last:] if len(fields) > known and row.original[last] != _value(fields[last]) else []
    if spilled:  # an unquoted list of URLs, which the reader has joined
        fields[last:] = [delimiter.join(spilled)]
    if added:
        fields[row.width :] = []
        fields += [""] * (row.width - len(fields))
    for index, cell in enumerate(cells[: row.width]):
        before = row.original[index] if index < known else ""
        if cell != before or (spilled and added and index == last):
            fields += [""] * (index + 1 - len(fields))
            is_bare = bool(spilled) and not added and index == last
            fields[index] = cell if is_bare else _quoted(cell, delimiter, like=fields[index])
    return delimiter.join(fields + added) + after


def _value(field: str) -> str:
    """Return the cell of a field, as csv.reader does."""
    return next(csv.reader([field], delimiter="\0", skipinitialspace=True), [""])[0] if field else ""


def _quoted(cell: str, delimiter: str, like: str = "") -> str:
    """Return `cell` as a field: quoted if it must be, or if the field `like` is."""
    blanks = like[: len(like) - len(like.lstrip(" "))]
    if like[len(blanks) :].startswith('"') or '"' in cell or delimiter in cell or _LINE_END.search(cell):
        return blanks + _in_quotes(cell)
    return blanks + cell


def _in_quotes(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'

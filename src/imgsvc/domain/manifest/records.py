"""Splits the bytes of an upload into lines and cells: detects the encoding and enforces the size limits."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from imgsvc.errors import InvalidManifest, LimitExceeded, Problem

DELIMITERS = ",;\t|"
MAX_PROBLEMS = 100
MAX_VALUE = 200
# Without these limits, a file of only line ends or delimiters would take minutes and gigabytes.
MAX_LINES = 2_000_000  # including blank ones; a spreadsheet has at most 1,048,576 rows
MAX_RECORD_LINES = 1_000
MAX_RECORD_CHARS = 2_000_000
MAX_COLUMNS = 1_000

_END = "\0"
_SEP_LINE = re.compile(rf'"?sep=([{DELIMITERS}])"?\s*', re.IGNORECASE)
_QUOTE = re.compile(r'(?:\A\ufeff?|[\t\r\n]) *+"')
_QUOTED_CELL = re.compile(r'"(?:[^"]++|"")*+" *+(?=[\t\r\n]|\Z)')
_OLE = b"\xd0\xcf\x11\xe0"
_OTHER_FILES = {
    _OLE: "This is an old Excel workbook (.xls). Save it as .xlsx or CSV.",
    b"%PDF": "This is a PDF document, not a CSV file.",
    b"\x89PNG": "This is an image, not a CSV file.",
    b"\xff\xd8\xff": "This is an image, not a CSV file.",
    b"GIF8": "This is an image, not a CSV file.",
    b"<!doctype": "This is a web page, not a CSV file.",
    b"<html": "This is a web page, not a CSV file.",
}


class Table(Protocol):
    """An upload as rows of cells."""

    @property
    def delimiters(self) -> str:
        """The possible delimiters."""

    @property
    def unit(self) -> str:
        """The words before the number of a row in messages, such as `line`."""

    def rows(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that are not blank, header first, each with its number."""


def refused(problems: Sequence[Problem], total: int | None = None, *, unit: str = "line") -> InvalidManifest:
    """Build the error for one or more `problems`; `total` includes those not listed, `unit` is what `row` counts."""
    total = total or len(problems)
    more = f" ({total:,} problems in total)" if total > 1 else ""
    where = f" ({unit} {problems[0].row})" if problems[0].row else ""
    detail = f"The catalogue was rejected{where}: {problems[0].detail}{more}"
    return InvalidManifest(detail, tuple(problems[:MAX_PROBLEMS]), problems_total=total)


def over_limit(detail: str, *, row: int | None = None) -> LimitExceeded:
    return LimitExceeded(detail, (Problem(LimitExceeded.code, detail, row=row),))


@dataclass(frozen=True, slots=True)
class Source:
    """An upload whose bytes are known to be text, with its possible delimiters."""

    data: bytes
    encoding: str
    delimiters: str
    has_bare_quotes: bool = False
    """Quotation marks are text if the delimiter is a tab: feeds do not quote."""
    unit: str = "line"

    def lines(self) -> Iterator[str]:
        """Return the physical lines, each with its line end (LF, CRLF or CR), decoded lazily."""
        return io.TextIOWrapper(io.BytesIO(self.data), self.encoding, newline="")

    def rows(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        return _records(self, delimiter)


def open_source(data: bytes) -> Source:
    """Detect the encoding of `data`: UTF-16 by its byte order mark, otherwise UTF-8 if it is valid, otherwise cp1252.

    Raises:
        InvalidManifest: `not_a_csv`, `undecodable`.
    """
    if data.startswith(_OLE) and "EncryptedPackage".encode("utf-16-le") in data:
        raise refused([Problem("encrypted", "The workbook is protected with a password. Save it without one.")])
    start = data[:16].lstrip().lower()
    for magic, sentence in _OTHER_FILES.items():
        if start.startswith(magic.lower()):
            raise refused([Problem("not_a_csv", sentence)])
    encoding = _encoding(data)
    source = Source(
        data, encoding, DELIMITERS, has_bare_quotes=b'"' in data and b"\t" in data and _is_bare(data, encoding)
    )
    sep = _SEP_LINE.fullmatch(next(iter(source.lines()), ""))
    return replace(source, delimiters=sep[1]) if sep else source


def _is_bare(data: bytes, encoding: str) -> bool:
    """Check, as if tabs separated the cells, for one that begins with a quotation mark but is not a quoted cell."""
    text, end = data.decode(encoding), 0
    while start := _QUOTE.search(text, end):
        cell = _QUOTED_CELL.match(text, start.end() - 1)
        if cell is None:
            return True
        end = cell.end()
    return False


def records(table: Table, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of `table` that are not blank, header first, each with its number.

    Raises:
        InvalidManifest: `nul_byte`, `unclosed_quote`.
        LimitExceeded: a cell or row is too large, or the file has too many lines.
    """
    return table.rows(delimiter)


def _encoding(data: bytes) -> str:
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    line = 0
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError as exc:
            line = data.count(b"\n", 0, exc.start) + 1
        else:
            return encoding
    detail = "The line contains bytes that are not text. Save the file as UTF-8."
    raise refused([Problem("undecodable", detail, row=line)])


class _Lines:
    """The lines of `source`, with limits: an unclosed quote would make csv.reader read the whole file as one record.

    `first` is the line on which the current record begins; `records` updates it.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.first = 1

    def __iter__(self) -> Iterator[str]:
        size = 0
        for number, line in enumerate(self.source.lines(), 1):
            size = len(line) if number == self.first else size + len(line)
            if number - self.first >= MAX_RECORD_LINES or size > MAX_RECORD_CHARS:
                raise _too_large(self.first, number)
            if number > MAX_LINES:
                raise over_limit(f"The file has more than {MAX_LINES:,} lines. Split it.")
            if _END in line:
                detail = "The line contains a NUL character. Check that the file is a CSV, saved as UTF-8."
                raise refused([Problem("nul_byte", detail, row=number)])
            yield "\n" if number == 1 and _SEP_LINE.fullmatch(line) else line
        # Inside an unclosed quote this becomes part of a cell, otherwise a record of its own.
        yield _END


def _records(source: Source, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV, each with the number of the line on which it begins."""
    lines = _Lines(source)
    bare = delimiter == "\t" and source.has_bare_quotes
    reader = csv.reader(
        lines, delimiter=delimiter, skipinitialspace=not bare, quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL
    )
    try:
        for cells in reader:
            if cells and cells[-1].endswith(_END):
                if cells != [_END]:
                    raise _unclosed(lines.first)
                return
            if len(cells) > MAX_COLUMNS:
                raise over_limit(f"Line {lines.first} has more than {MAX_COLUMNS:,} cells.", row=lines.first)
            if "".join(cells).strip():
                yield lines.first, cells
            lines.first = reader.line_num + 1
    except csv.Error as exc:  # a cell over csv.field_size_limit()
        raise _too_large(lines.first, reader.line_num) from exc


def _too_large(first: int, last: int) -> InvalidManifest | LimitExceeded:
    if last > first:
        return _unclosed(first)
    limits = f"{csv.field_size_limit():,} characters per cell and {MAX_RECORD_CHARS:,} per row"
    return over_limit(f"Line {first} is too large: at most {limits} are allowed.", row=first)


def _unclosed(first: int) -> InvalidManifest:
    detail = "A quotation mark in the row that begins here is never closed. Add the closing one."
    return refused([Problem("unclosed_quote", detail, row=first)])

"""Rows of cells in a file: what a format other than CSV is converted to, and read from again."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgsvc.domain.manifest.builder import too_many_rows
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.domain.manifest.records import MAX_COLUMNS, MAX_LINES, MAX_RECORD_CHARS, over_limit, refused
from imgsvc.errors import Problem

_MAX_CELL = csv.field_size_limit()


@dataclass(frozen=True, slots=True)
class RowsFile:
    """The table in the file `path`, which has one JSON list per row: its number, then its cells."""

    path: Path
    header: list[str]
    header_row: int
    file_format: FileFormat
    unit: str
    delimiters: str = ","
    encoding: str = "utf-8"

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def rows(self, _delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the header, then the rows, each with its number."""
        if self.header:
            yield self.header_row, list(self.header)
        with self.path.open("rb") as file:
            for line in file:
                number, *cells = json.loads(line)
                yield number, cells


class RowsWriter:
    """Writes the rows of a table to `target`, and enforces the limits of an upload."""

    def __init__(self, target: BinaryIO, limits: ManifestLimits, *, max_bytes: int) -> None:
        """Allow a table of `max_bytes`, the size of a CSV with the same content."""
        self.target, self.limits, self.max_bytes = target, limits, max_bytes
        self.header: list[str] = []
        self.header_row = 1
        self.unit = "row"
        self.size = self.rows = self.cells = self.lines = 0

    def set_header(self, number: int, cells: Sequence[str]) -> None:
        self._check(number, cells)
        self.header, self.header_row = list(cells), number

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Write a row; blank cells at its end and blank rows are dropped."""
        width = len(cells)
        while width and not cells[width - 1].strip():
            width -= 1
        if not width:
            self.skip(1)
            return
        cells = cells[:width]
        self.rows += 1
        self.cells += max(width, len(self.header))
        self._check(number, cells)
        if self.rows > self.limits.max_rows:
            raise too_many_rows(self.limits, row=number)
        if self.cells > self.limits.max_cells:
            raise over_limit(f"The catalogue has more than {self.limits.max_cells:,} cells. Split it.", row=number)
        line = json.dumps([number, *cells], ensure_ascii=False).encode() + b"\n"
        self.size += len(line)
        if self.size > self.max_bytes:
            raise content_too_large(self.max_bytes)
        self.target.write(line)

    def skip(self, count: int) -> None:
        """Count blank rows."""
        self.lines += count
        if self.lines > MAX_LINES:
            raise over_limit(f"The file has more than {MAX_LINES:,} blank rows. Remove them.")

    def _check(self, number: int, cells: Sequence[str]) -> None:
        if len(cells) > MAX_COLUMNS:
            raise over_limit(f"The file has more than {MAX_COLUMNS:,} columns.", row=number)
        text = "".join(cells)
        if len(text) > MAX_RECORD_CHARS or (len(text) > _MAX_CELL and max(map(len, cells)) > _MAX_CELL):
            limits = f"{_MAX_CELL:,} characters per cell and {MAX_RECORD_CHARS:,} per row"
            raise over_limit(f"The {self.unit} {number} is too large: at most {limits} are allowed.", row=number)
        if "\0" in text:
            detail = f"The {self.unit} contains a NUL character. Remove it."
            raise refused([Problem("nul_byte", detail, row=number)], unit=self.unit)
        if not text.isascii() and not is_unicode(text):
            detail = f"The {self.unit} contains half of a character (a lone surrogate). Remove it."
            raise refused([Problem("undecodable", detail, row=number)], unit=self.unit)


def is_unicode(text: str) -> bool:
    """Return False for text with half a character, which JSON can contain and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_too_large(max_bytes: int) -> Exception:
    detail = f"The content of the file is larger than {max_bytes:,} bytes (setting IMGSVC_MAX_UPLOAD_BYTES). Split it."
    return over_limit(detail)

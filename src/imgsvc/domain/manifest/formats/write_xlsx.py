"""Writes an Excel workbook with XlsxWriter, a row at a time: text as text, links as links, values as values."""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from xlsxwriter import Workbook

from imgsvc.domain.manifest.formats.cells import kinds_by_column, restored
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.errors import LimitExceeded

MAX_ROWS = 1_048_576
MAX_LINKS = 65_530
"""Links that Excel allows on a sheet; further ones are text."""
_MAX_LINK = 2_079
MAX_CELL = 32_767
"""Characters that Excel allows in a cell."""
_CUT = "… (cut: a cell of a workbook has at most 32,767 characters)"
_MAX_SHEET_NAME = 31
_FIRST_DATE = dt.date(1900, 3, 1)
"""Excel counts a 29 February 1900 that did not exist."""


class XlsxWriter:
    """Writes rows to a workbook with one sheet; memory holds one row and the links."""

    def __init__(self, target: BinaryIO, shape: ReportShape) -> None:
        # Its temporary files are next to the report: who removes that also removes what a killed process left behind.
        folder = str(Path(target.name).parent) if isinstance(getattr(target, "name", None), str) else None
        self._workbook = Workbook(target, {"constant_memory": True, "tmpdir": folder})
        self._sheet = self._workbook.add_worksheet(sheet_name(shape.file_format.sheet))
        self._date = self._workbook.add_format({"num_format": "yyyy-mm-dd"})
        self._time = self._workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._plain = self._workbook.add_format()
        self._kinds = kinds_by_column(shape.file_format)
        self._links = set(shape.link_columns)
        self._row = self._link_count = 0
        self._write_header(shape.header)

    def _write_header(self, header: Sequence[str]) -> None:
        for column, cell in enumerate(header):
            self._write_text(column, cell)
        self._row = 1

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        for cells in rows:
            if self._row == MAX_ROWS:
                raise LimitExceeded(f"A sheet has at most {MAX_ROWS:,} rows.")
            for column, cell in enumerate(cells):
                if cell:
                    self._write_cell(column, cell)
            self._row += 1

    def close(self) -> None:
        self._workbook.close()

    def _write_cell(self, column: int, cell: str) -> None:
        if column in self._links:
            self._write_link(column, cell)
        elif column in self._kinds:
            self._write_value(column, cell)
        else:
            self._write_text(column, cell)

    def _write_link(self, column: int, cell: str) -> None:
        is_link = cell.startswith(("https://", "http://")) and "," not in cell and len(cell) <= _MAX_LINK
        if not is_link or self._link_count == MAX_LINKS:
            self._write_text(column, cell)
        else:
            self._link_count += 1
            self._sheet.write_url(self._row, column, cell, self._plain, cell)

    def _write_value(self, column: int, cell: str) -> None:
        value = restored(cell, self._kinds[column])
        if isinstance(value, str) or (isinstance(value, dt.date) and _before_excel(value)):
            self._write_text(column, cell)
        elif isinstance(value, bool):
            self._sheet.write_boolean(self._row, column, value)
        elif isinstance(value, float):
            self._sheet.write_number(self._row, column, value)
        else:
            style = self._time if isinstance(value, dt.datetime) else self._date
            self._sheet.write_datetime(self._row, column, value, style)

    def _write_text(self, column: int, cell: str) -> None:
        if len(cell) > MAX_CELL:
            cell = cell[: MAX_CELL - len(_CUT)] + _CUT
        if cell.startswith("<r>") and cell.endswith("</r>"):
            # XlsxWriter takes such text for the XML of a rich string, and would write it as it is.
            self._sheet.write_rich_string(self._row, column, "<", self._plain, cell[1:])
        elif cell:
            self._sheet.write_string(self._row, column, cell)


def _before_excel(value: dt.date) -> bool:
    day = value.date() if isinstance(value, dt.datetime) else value
    return day < _FIRST_DATE


def sheet_name(name: str | None) -> str:
    """Return a name that Excel accepts: the upload's, or `Products`."""
    cleaned = "".join(" " if letter in "[]:*?/\\" else letter for letter in name or "").strip().strip("'")
    return cleaned[:_MAX_SHEET_NAME] if cleaned and cleaned.lower() != "history" else "Products"

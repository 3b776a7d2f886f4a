"""Reads a sheet of a workbook (.xlsx, .xlsm, .ods): its stored values, without formulas, macros and styles."""

import io
from collections.abc import Sequence
from itertools import islice

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.cells import CellTexts, Value
from imgsvc.domain.manifest.formats.container import Container
from imgsvc.domain.manifest.formats.formulas import SpecialCells, ods_formulas, xlsx_special_cells
from imgsvc.domain.manifest.formats.ods_blanks import plain_blanks
from imgsvc.domain.manifest.records import MAX_COLUMNS, MAX_PROBLEMS, over_limit, refused
from imgsvc.domain.manifest.rows_file import RowsWriter
from imgsvc.errors import InvalidManifest, Problem

MAX_UNPACKED = 2**30
"""Bytes of a workbook's parts; 10 million cells take less."""
_ENCRYPTED = "The workbook is protected with a password. Save it without one."


def read_xlsx(container: Container, out: RowsWriter, sheet: str | None) -> FileFormat:
    return _read(container, out, sheet, name="xlsx")


def read_ods(container: Container, out: RowsWriter, sheet: str | None) -> FileFormat:
    if container.holds("META-INF/manifest.xml", b"encryption-data"):
        raise refused([Problem("encrypted", _ENCRYPTED)])
    return _read(container, out, sheet, name="ods")


def _read(container: Container, out: RowsWriter, sheet: str | None, *, name: str) -> FileFormat:
    if container.unpacked_size > MAX_UNPACKED:
        raise over_limit(f"The workbook unpacks to more than {MAX_UNPACKED:,} bytes. Save it as CSV, or split it.")
    try:
        data = container.data if name == "xlsx" else plain_blanks(container)
        with CalamineWorkbook.from_filelike(io.BytesIO(data)) as workbook:
            title = _choose_sheet(workbook, sheet)
            special = xlsx_special_cells(container, title) if name == "xlsx" else ods_formulas(container, title)
            values = workbook.get_sheet_by_name(title)
    except PasswordError as exc:
        raise refused([Problem("encrypted", _ENCRYPTED)]) from exc
    except (CalamineError, OSError, ValueError) as exc:
        raise _damaged(exc) from exc
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # calamine's own faults; the class cannot be imported
            raise
        raise _damaged(exc) from None
    out.unit = f"sheet `{title}`, row"
    texts = _write_rows(values, special, out)
    return FileFormat(
        format=name,
        sheet=title,
        numbers=texts.columns("numbers"),
        dates=texts.columns("dates"),
        booleans=texts.columns("booleans"),
    )


def _damaged(exc: BaseException) -> InvalidManifest:
    reason = str(exc).strip().rstrip(".")[:200]
    return refused([Problem("damaged_file", f"The workbook is damaged and cannot be read: {reason}.")])


def _choose_sheet(workbook: CalamineWorkbook, sheet: str | None) -> str:
    """Return the sheet named `sheet`, or the first one that is visible and has cells."""
    tables = [each for each in workbook.sheets_metadata if each.typ == SheetTypeEnum.WorkSheet]
    names = [each.name for each in tables]
    if sheet is not None:
        if sheet in names:
            return sheet
        listed = ", ".join(f"`{name}`" for name in names)[:1_000] or "none"
        detail = f"The workbook has no sheet `{sheet}`; it has: {listed}."
        raise refused([Problem("unknown_sheet", detail, column="sheet", value=sheet)])
    visible = [each.name for each in tables if each.visible == SheetVisibleEnum.Visible]
    if not names:
        raise refused([Problem("empty_file", "The workbook has no sheet with cells.")])
    return (visible or names)[0]


def _write_rows(sheet: CalamineSheet, special: SpecialCells, out: RowsWriter) -> CellTexts:
    """Write the rows; the first that is not blank is the header."""
    if sheet.start is None:
        rows = _Rows(out, special, 0)
        rows.refuse_formulas(special.unplaced)
        return rows.texts
    if sheet.width > MAX_COLUMNS:
        raise over_limit(f"The sheet `{sheet.name}` has more than {MAX_COLUMNS:,} columns. Delete the empty ones.")
    first_row, first_column = sheet.start
    out.skip(first_row)
    rows = _Rows(out, special, first_column)
    for number, values in enumerate(islice(sheet.iter_rows(), first_row, None), first_row + 1):
        rows.add(number, values)
    rows.refuse_formulas(special.unplaced)
    return rows.texts


class _Rows:
    """Writes the rows of a sheet whose first column is `first_column`."""

    def __init__(self, out: RowsWriter, special: SpecialCells, first_column: int) -> None:
        self.out = out
        self.texts = CellTexts()
        self._special = special.by_row()
        self._first_column = first_column
        self._problems, self._total = list[Problem](), 0

    def add(self, number: int, values: Sequence[Value]) -> None:
        header = self.out.header
        cells = (self.texts if header else CellTexts()).row(values)  # the header says nothing about the columns
        for column, error in self._special.get(number, ()):
            index = column - self._first_column
            if error is None:
                self._refuse(number, column, header[index] if 0 <= index < len(header) else None)
            elif 0 <= index < len(cells):
                cells[index] = error
        if header or not any(cell.strip() for cell in cells):
            self.out.add(number, cells)
        else:
            self.out.set_header(number, _trimmed(cells))

    def _refuse(self, row: int, column: int, header: str | None) -> None:
        self._total += 1
        if self._total <= MAX_PROBLEMS:
            detail = f"The formula in cell {column_letters(column)}{row} has no stored result. {_OPEN_AND_SAVE}"
            self._problems.append(Problem("formula_without_value", detail, row, header))

    def refuse_formulas(self, unplaced: int) -> None:
        """Raise InvalidManifest if there are formulas without a result, `unplaced` of them in unknown cells."""
        if unplaced:
            detail = f"The sheet has formulas without a stored result. {_OPEN_AND_SAVE}"
            self._problems.append(Problem("formula_without_value", detail))
        if self._problems:
            raise refused(self._problems, self._total + unplaced, unit=self.out.unit)


_OPEN_AND_SAVE = "Open the workbook in Excel or LibreOffice and save it, or replace the formulas by their values."


def column_letters(column: int) -> str:
    """Return the letters of a column, counted from 0: A to Z, then AA."""
    letters = ""
    while column >= 0:
        column, letter = divmod(column, 26)
        letters = chr(ord("A") + letter) + letters
        column -= 1
    return letters


def _trimmed(cells: list[str]) -> list[str]:
    while cells and not cells[-1].strip():
        cells.pop()
    return cells

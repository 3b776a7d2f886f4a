"""Workbooks and other files made for tests."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import xlsxwriter

from imgsvc.domain.manifest.formats.convert import Conversion, Converted, convert
from imgsvc.domain.manifest.model import DEFAULT_LIMITS


def workbook(rows: Sequence[Sequence[Any]], *, sheet: str = "Products", before: Sequence[str] = ()) -> bytes:
    """Return an .xlsx with `rows` on `sheet`, after empty sheets with the names `before`."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    for name in before:
        book.add_worksheet(name)
    page = book.add_worksheet(sheet)
    styles = {"date": book.add_format({"num_format": "yyyy-mm-dd"})}
    for number, cells in enumerate(rows):
        for column, value in enumerate(cells):
            if isinstance(value, str):
                if value:
                    page.write_string(number, column, value)
            else:
                page.write(number, column, value, styles["date"] if hasattr(value, "year") else None)
    book.close()
    return file.getvalue()


def changed_member(data: bytes, name: str, old: str, new: str) -> bytes:
    """Return the ZIP `data` with a text replaced in the member `name`."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as after:
        for info in before.infolist():
            content = before.read(info)
            if info.filename == name:
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode())
            after.writestr(info, content)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    """Return a ZIP of `files` by name; `__` in a name is a dot."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


class Table(NamedTuple):
    """A converted file: its rows with the header first, or its text, and what is known about it."""

    rows: list[list[str]]
    numbers: list[int]
    text: bytes
    converted: Converted


Convert = Callable[..., Table]


def read_table(data: bytes, *, max_bytes: int = 2**26, **options: Any) -> Table:
    """Convert a file in this process, with the options of a `Conversion`."""
    target = io.BytesIO()
    converted = convert(data, Conversion(options.pop("limits", DEFAULT_LIMITS), max_bytes, **options), target)
    if converted.header is None:
        return Table([], [], target.getvalue(), converted)
    lines = [json.loads(line) for line in target.getvalue().splitlines()]
    rows = [converted.header, *(line[1:] for line in lines)]
    return Table(rows, [converted.header_row, *(line[0] for line in lines)], b"", converted)

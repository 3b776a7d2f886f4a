"""Writes an OpenDocument spreadsheet (OASIS OpenDocument 1.3, part 3), row by row.

The libraries that write it (odfpy, odfdo, pyexcel-ods3) build the whole document in memory.
"""

import datetime as dt
import re
import zipfile
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from imgsvc.domain.manifest.formats.cells import Value, kinds_by_column, restored
from imgsvc.domain.manifest.formats.feed_xml import xml_attribute, xml_text
from imgsvc.domain.manifest.formats.report_shape import ReportShape

_TYPE = "application/vnd.oasis.opendocument.spreadsheet"
_OASIS = "urn:oasis:names:tc:opendocument:xmlns"
_MANIFEST = f"""<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="{_OASIS}:manifest:1.0" manifest:version="1.3">
<manifest:file-entry manifest:full-path="/" manifest:version="1.3" manifest:media-type="{_TYPE}"/>
<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>
</manifest:manifest>
"""
_HEAD = f"""<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="{_OASIS}:office:1.0" xmlns:table="{_OASIS}:table:1.0"
 xmlns:text="{_OASIS}:text:1.0" xmlns:style="{_OASIS}:style:1.0" xmlns:number="{_OASIS}:datastyle:1.0"
 xmlns:xlink="http://www.w3.org/1999/xlink" office:version="1.3">
<office:automatic-styles>
<number:date-style style:name="N1"><number:year number:style="long"/><number:text>-</number:text>
<number:month number:style="long"/><number:text>-</number:text><number:day number:style="long"/></number:date-style>
<number:date-style style:name="N2"><number:year number:style="long"/><number:text>-</number:text>
<number:month number:style="long"/><number:text>-</number:text><number:day number:style="long"/>
<number:text> </number:text><number:hours number:style="long"/><number:text>:</number:text>
<number:minutes number:style="long"/><number:text>:</number:text><number:seconds number:style="long"/>
</number:date-style>
<style:style style:name="day" style:family="table-cell" style:data-style-name="N1"/>
<style:style style:name="time" style:family="table-cell" style:data-style-name="N2"/>
</office:automatic-styles>
<office:body><office:spreadsheet>"""
_TAIL = "</table:table></office:spreadsheet></office:body></office:document-content>"
_EMPTY = "<table:table-cell/>"
_SPACES = re.compile(r"(?<= ) +|^ +| +$")


class OdsWriter:
    """Writes rows to a spreadsheet with one sheet; memory holds one page of rows."""

    def __init__(self, target: BinaryIO, shape: ReportShape) -> None:
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=4)
        self._zip.writestr(zipfile.ZipInfo("mimetype"), _TYPE)  # first and not compressed: part 2, §3.3
        self._zip.writestr("META-INF/manifest.xml", _MANIFEST)
        self._content = self._zip.open("content.xml", "w", force_zip64=True)
        self._links = set(shape.link_columns)
        self._kinds = kinds_by_column(shape.file_format)
        name = shape.file_format.sheet or "Products"
        self._write(f"{_HEAD}<table:table table:name={xml_attribute(name)}>")
        self._write(f"<table:table-column table:number-columns-repeated='{max(1, len(shape.header))}'/>")
        self._write(_row("".join(map(_text_cell, shape.header)) or _EMPTY))

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        self._write("".join(_row("".join(map(self._cell, range(len(row)), row)) or _EMPTY) for row in rows))

    def close(self) -> None:
        self._write(_TAIL)
        self._content.close()
        self._zip.close()

    def _write(self, text: str) -> None:
        self._content.write(text.encode())

    def _cell(self, column: int, cell: str) -> str:
        if not cell:
            return _EMPTY
        if column in self._links and cell.startswith(("https://", "http://")) and "," not in cell:
            link = f'<text:a xlink:type="simple" xlink:href={xml_attribute(cell)}>{xml_text(cell)}</text:a>'
            return f'<table:table-cell office:value-type="string"><text:p>{link}</text:p></table:table-cell>'
        if column in self._kinds:
            return _value_cell(restored(cell, self._kinds[column]), cell)
        return _text_cell(cell)


def _row(cells: str) -> str:
    return f"<table:table-row>{cells}</table:table-row>\n"


def _value_cell(value: Value, text: str) -> str:
    if isinstance(value, str):
        return _text_cell(text)
    if isinstance(value, bool):
        attributes = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, float):
        attributes = f'office:value-type="float" office:value="{text}"'
    else:
        style = "time" if isinstance(value, dt.datetime) else "day"
        date = text.replace(" ", "T")
        attributes = f'table:style-name="{style}" office:value-type="date" office:date-value="{date}"'
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


def _text_cell(text: str) -> str:
    if not text:
        return _EMPTY
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    paragraphs = "".join(f"<text:p>{_spaced(xml_text(line))}</text:p>" for line in lines)
    return f'<table:table-cell office:value-type="string">{paragraphs}</table:table-cell>'


def _spaced(text: str) -> str:
    """Replace the blanks that a reader would collapse (part 3, §6.1.2)."""
    text = text.replace("\t", "<text:tab/>")
    return (
        _SPACES.sub(lambda blanks: f'<text:s text:c="{len(blanks[0])}"/>', text)
        if "  " in text or text != text.strip(" ")
        else text
    )

"""Converts a file to text that is read as CSV, or to rows of cells. Only a process that may die calls it."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.container import Container
from imgsvc.domain.manifest.formats.table import FORMATS, GZIP, TableFormat, detect, is_zip
from imgsvc.domain.manifest.formats.unpack import gunzip, only_table
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.domain.manifest.records import refused
from imgsvc.domain.manifest.rows_file import RowsWriter
from imgsvc.errors import Problem

_MAX_LAYERS = 2
"""A gzip in a ZIP, or the reverse; more layers have no use."""
_OTHER_ZIPS = {
    "xl/workbook.bin": "This is a binary Excel workbook (.xlsb). Save it as .xlsx or CSV.",
    "word/document.xml": "This is a Word document. Save its table as .xlsx or CSV.",
    "ppt/presentation.xml": "This is a presentation, not a catalogue.",
    "Index/Document.iwa": "This is a Numbers document. Export it as .xlsx or CSV.",
}
_EXTENSIONS = {extension for each in FORMATS for extension in (*each.extensions, ".gz")}


@dataclass(frozen=True, slots=True)
class Conversion:
    """The limits of a conversion, and the sender's description of the file."""

    limits: ManifestLimits
    max_bytes: int
    media_type: str = ""
    filename: str = ""
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The format of a file; `header` is None if the result is text."""

    file_format: FileFormat
    header: list[str] | None = None
    header_row: int = 1
    unit: str = "line"


def convert(data: bytes, what: Conversion, target: BinaryIO) -> Converted:
    """Write the text or the rows of `data` to `target`.

    Raises:
        InvalidManifest: the file has problems; lists the first 100.
        LimitExceeded: its content exceeds a limit.
    """
    media_type, filename = what.media_type, what.filename
    for _ in range(_MAX_LAYERS + 1):
        if is_zip(data):
            container = Container(data)
            if kind := _workbook_kind(container):
                return _read(kind, container, what, target)
            filename, data = only_table(container, _EXTENSIONS, max_bytes=what.max_bytes)
        elif data.startswith(GZIP):
            data, filename = gunzip(data, max_bytes=what.max_bytes), _without_gz(filename)
        else:
            return _read(detect(data, media_type=media_type, filename=filename), data, what, target)
        media_type = ""  # it was that of the wrapper
    raise refused([Problem("nested_archive", "The file is packed more than twice. Unpack it.")])


def _read(kind: TableFormat, data: bytes | Container, what: Conversion, target: BinaryIO) -> Converted:
    out = RowsWriter(target, what.limits, max_bytes=what.max_bytes)
    if isinstance(data, Container):
        assert kind.read_members is not None  # noqa: S101  # it has a member
        file_format = kind.read_members(data, out, what.sheet)
        return Converted(file_format, out.header, out.header_row, out.unit)
    if what.sheet is not None:
        raise refused([no_sheets(what.sheet)])
    if kind.read is None:
        target.write(data)
        return Converted(FileFormat(format=kind.name))
    file_format = kind.read(data, out)
    return Converted(file_format, out.header, out.header_row, out.unit)


def no_sheets(sheet: str) -> Problem:
    detail = "The field `sheet` is for workbooks; this file has no sheets. Leave it out."
    return Problem("unknown_sheet", detail, column="sheet", value=sheet[:200])


def _workbook_kind(container: Container) -> TableFormat | None:
    for member, sentence in _OTHER_ZIPS.items():
        if member in container.members:
            raise refused([Problem("not_a_csv", sentence)])
    kind = next((each for each in FORMATS if each.member in container.members), None)
    if kind and "mimetype" in container.members and not container.holds("mimetype", b"opendocument.spreadsheet"):
        raise refused([Problem("not_a_csv", "This is an OpenDocument file, but not a spreadsheet.")])
    return kind


def _without_gz(filename: str) -> str:
    path = PurePosixPath(filename)
    return path.stem if path.suffix.lower() == ".gz" else filename

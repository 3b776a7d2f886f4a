"""The table of file formats, with one row each: all code that depends on the format of a catalogue reads it here.

docs/adding/file-format.md describes how to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.container import Container
from imgsvc.domain.manifest.formats.json_lines import JsonLinesWriter, read_json_lines
from imgsvc.domain.manifest.formats.read_feed import read_feed
from imgsvc.domain.manifest.formats.report_shape import FileWriter, ReportShape, TextWriter
from imgsvc.domain.manifest.formats.tsv import TsvWriter
from imgsvc.domain.manifest.formats.workbook import read_ods, read_xlsx
from imgsvc.domain.manifest.formats.write_feed import FeedWriter
from imgsvc.domain.manifest.formats.write_ods import OdsWriter
from imgsvc.domain.manifest.formats.write_xlsx import MAX_ROWS, XlsxWriter
from imgsvc.domain.manifest.rows_file import RowsWriter

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
WRAPPER_TYPES = ("application/gzip", "application/x-gzip", "application/zip", "application/x-zip-compressed")
"""Media types of packed catalogues."""
WRAPPER_EXTENSIONS = (".gz", ".zip")
_WEB_PAGES = (b"<html", b"<!doctype html")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableFormat:
    """A file format of catalogues: one row of the table. Exactly one of the writers is given."""

    name: str
    title: str
    """The name in prose."""
    extensions: tuple[str, ...]
    """The endings of file names; the report has the first, a dot and the name of the format."""
    media_types: tuple[str, ...]
    """The media types of uploads; the report has the first."""
    starts: tuple[bytes, ...] = ()
    """Lower-case bytes with which a file begins, after a byte order mark and blanks."""
    member: str | None = None
    """The member of a ZIP that makes it a file of this format."""
    read: Callable[[bytes, RowsWriter], FileFormat] | None = None
    """Reads a file; None: it is text that `read_csv` reads."""
    read_members: Callable[[Container, RowsWriter, str | None], FileFormat] | None = None
    """Reads a ZIP, and the sheet with the given name."""
    write_text: Callable[[ReportShape], TextWriter] | None = None
    write_file: Callable[[BinaryIO, ReportShape], FileWriter] | None = None
    max_rows: int | None = None
    """The rows that a file can have, including the header."""

    @property
    def is_text(self) -> bool:
        """The file is read as CSV, in the process that received it."""
        return self.read is None and self.read_members is None


CSV = TableFormat(
    name="csv",
    title="CSV",
    extensions=(".csv", ".txt"),
    media_types=("text/csv", "application/csv", "text/plain"),
)
TSV = TableFormat(
    name="tsv",
    title="tab-separated values",
    extensions=(".tsv", ".tab"),
    media_types=("text/tab-separated-values",),
    write_text=TsvWriter,
)
XLSX = TableFormat(
    name="xlsx",
    title="Excel workbook",
    extensions=(".xlsx", ".xlsm"),
    media_types=(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroenabled.12",
    ),
    member="xl/workbook.xml",
    read_members=read_xlsx,
    write_file=XlsxWriter,
    max_rows=MAX_ROWS,
)
ODS = TableFormat(
    name="ods",
    title="OpenDocument spreadsheet",
    extensions=(".ods",),
    media_types=("application/vnd.oasis.opendocument.spreadsheet",),
    member="content.xml",
    read_members=read_ods,
    write_file=OdsWriter,
    max_rows=MAX_ROWS,
)
JSON_LINES = TableFormat(
    name="jsonl",
    title="JSON Lines",
    extensions=(".jsonl", ".ndjson"),
    media_types=("application/jsonl", "application/x-ndjson", "application/x-jsonlines"),
    starts=(b'{"', b"{ ", b"{}"),
    read=read_json_lines,
    write_text=JsonLinesWriter,
)
FEED = TableFormat(
    name="xml",
    title="XML feed (RSS or Atom)",
    extensions=(".xml", ".rss", ".atom"),
    media_types=("application/xml", "text/xml", "application/rss+xml", "application/atom+xml"),
    starts=(b"<?xml", b"<rss", b"<feed", b"<rdf:rdf", b"<\0?\0x\0m\0l\0", b"\0<\0?\0x\0m\0l"),
    read=read_feed,
    write_text=FeedWriter,
)
FORMATS = (CSV, TSV, XLSX, ODS, JSON_LINES, FEED)
BY_NAME = {each.name: each for each in FORMATS}
MEDIA_TYPES = tuple(media_type for each in FORMATS for media_type in each.media_types) + WRAPPER_TYPES
"""Everything that an upload may be declared as."""


def is_zip(data: bytes) -> bool:
    return data.startswith((ZIP, EMPTY_ZIP))


def is_packed(data: bytes) -> bool:
    return data.startswith(GZIP) or is_zip(data)


def detect(data: bytes, *, media_type: str = "", filename: str = "") -> TableFormat:
    """Return the format of a file that is not packed: by its first bytes, otherwise by what its sender says.

    A ZIP has to be recognised by its members instead.
    """
    start = data[:64]
    for mark in _MARKS:
        start = start.removeprefix(mark)
    start = start.lstrip(b" \t\r\n").lower()
    if start.startswith(_WEB_PAGES):
        return CSV  # which refuses it in words
    for each in FORMATS:
        if each.starts and start.startswith(each.starts):
            return each
    named = [each for each in FORMATS if not each.member and PurePosixPath(filename).suffix.lower() in each.extensions]
    declared = [each for each in FORMATS if not each.member and media_type in each.media_types]
    return next((each for each in (*declared, *named) if each is not CSV), CSV)

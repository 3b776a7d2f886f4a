"""The shape of a report: the facts that a writer needs before the rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgsvc.domain.manifest.file_format import FileFormat


@dataclass(frozen=True, slots=True)
class ReportShape:
    """The header of a report, the columns with links to images, and the facts about the uploaded file.

    The first `uploaded` columns are those of the upload.
    """

    header: Sequence[str]
    link_columns: Sequence[int]
    file_format: FileFormat
    uploaded: int = 0
    safe: bool = False
    bom: bool = False


class TextWriter(Protocol):
    """Writes a report as text, a page of rows at a time."""

    def begin(self) -> str:
        """Return the text before the first row."""

    def rows(self, rows: Iterable[Sequence[str]]) -> str:
        """Return the text of some rows."""

    def end(self) -> str:
        """Return the text after the last row."""


class FileWriter(Protocol):
    """Writes a report to a file, a page of rows at a time, in memory that does not grow with the report."""

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Write some rows."""

    def close(self) -> None:
        """Complete the file."""

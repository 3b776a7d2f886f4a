"""The CSV out: the rows of the upload with what became of their URLs, as CSV text."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imgsvc.domain.manifest.urls import join_cell

OUTPUT = "Output Image Urls"
EXTENDED = ("Status", "Error", "Input Bytes", "Output Bytes")
ERROR = "Error"

# What a spreadsheet takes for a formula (OWASP, "CSV Injection"), full-width forms and blanks, also unseen, included.
_FORMULA = re.compile(r"[\t\r\n]|[\s\ufeff\u200b-\u200f\u2060]*[=+\-@＝＋－＠]")


class Slot(NamedTuple):
    """What became of one URL in its place: `urls` has one address per rendition, or is empty when there is none."""

    urls: tuple[str, ...]
    status: str
    error: str | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ReportLayout:
    """The header of a report, and where its added columns stand."""

    header: tuple[str, ...]
    places: tuple[int, ...]

    def row(self, cells: Sequence[str], added: Sequence[str]) -> list[str]:
        """One row: the upload's `cells`, filled up to the header's width, and the `added` ones in their places."""
        row = [*cells, *[""] * (len(self.header) - len(cells))]
        for place, cell in zip(self.places, added, strict=True):
            row[place] = cell
        return row


def output_layout(
    header: Sequence[str], *, renditions: Sequence[str] = ("main",), extended: bool = False
) -> ReportLayout:
    """The layout of `output.csv`: the upload's header, then a column per rendition, then the extended ones.

    An output that is uploaded again keeps its shape: columns with these names are filled anew, not added twice. The
    extended names count as ours only behind an output column; a catalogue may well have a `Status` of its own.
    """
    outputs = [OUTPUT if name == "main" else f"{OUTPUT} ({name})" for name in renditions]
    layout = _adding(header, outputs, after=0)
    if not extended:
        return layout
    more = _adding(layout.header, EXTENDED, after=layout.places[0])
    return ReportLayout(more.header, layout.places + more.places)


def failures_layout(header: Sequence[str]) -> ReportLayout:
    """The layout of `failures.csv`: the upload's header and an `Error` column, unless that is its last one already."""
    return _adding(header, [ERROR], after=len(header) - 1)


def _adding(header: Sequence[str], names: Iterable[str], *, after: int) -> ReportLayout:
    wide = list(header)
    places = []
    for name in names:
        if name not in wide[after:]:
            wide.append(name)
        places.append(wide.index(name, after))
    return ReportLayout(tuple(wide), tuple(places))


def output_cells(slots: Sequence[Slot], *, renditions: int = 1, extended: bool = False) -> list[str]:
    """The added cells of one row: each has one entry per URL, joined by `,`, which is empty where there is nothing."""
    columns = [[slot.urls[index] if slot.urls else "" for slot in slots] for index in range(renditions)]
    if extended:
        columns.append([slot.status for slot in slots])
        columns.append([slot.error or "" for slot in slots])
        columns.append([_number(slot.input_bytes) for slot in slots])
        columns.append([_number(slot.output_bytes) for slot in slots])
    return [",".join(entries) for entries in columns]


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def failure_row(
    layout: ReportLayout, cells: Sequence[str], *, url_column: int, urls: Sequence[str], errors: Sequence[str]
) -> list[str]:
    """One row of `failures.csv`: of the upload's URLs only the failed ones, and why each of them failed."""
    row = [*cells[:url_column], join_cell(urls), *cells[url_column + 1 :]]
    return layout.row(row, [", ".join(errors)])


def render_rows(rows: Iterable[Sequence[str]], delimiter: str, *, safe: bool = False) -> str:
    """CSV text of `rows` (the header is one of them), CRLF behind each; a report is rendered page by page.

    `safe` puts an apostrophe before what a spreadsheet would run as a formula.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerows([_guarded(cell) for cell in row] if safe else row for row in rows)
    return text.getvalue()


def _guarded(cell: str) -> str:
    return "'" + cell if _FORMULA.match(cell) else cell

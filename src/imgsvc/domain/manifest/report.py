"""The rows of reports: the cells of the upload with the results of their URLs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from imgsvc.domain.manifest.model import by_column
from imgsvc.domain.manifest.urls import join_cell, replace_urls

OUTPUT = "Output Image Urls"
EXTENDED = ("Status", "Error", "Input Bytes", "Output Bytes")
CHANGE = "Change"
ERROR = "Error"


class Slot(NamedTuple):
    """The result of one URL of a row; `urls` has one URL per rendition, or is empty if there is none.

    `fallback` is then in their place.
    """

    urls: tuple[str, ...]
    status: str
    error: str | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class ReportLayout:
    """The header of a report, and the indexes of the added columns."""

    header: tuple[str, ...]
    added_columns: tuple[int, ...]

    def row(self, cells: Sequence[str], added: Sequence[str]) -> list[str]:
        """Return one row: the upload's `cells`, padded to the header's width, and `added` in the added columns."""
        row = [*cells, *[""] * (len(self.header) - len(cells))]
        for index, cell in zip(self.added_columns, added, strict=True):
            row[index] = cell
        return row


def output_layout(
    header: Sequence[str],
    *,
    url_columns: Sequence[int] = (),
    renditions: Sequence[str] = ("main",),
    extended: bool = False,
    compared: bool = False,
    replaces: bool = False,
) -> ReportLayout:
    """Return the layout of `output.csv`: the upload's header, then the output columns, then the extended ones.

    There is an output column per rendition and image column; none for the first rendition if it replaces the URLs. If
    an `output.csv` is uploaded again, its output columns are overwritten, not added a second time. The extended names
    are recognised only after an output column or together at the end, because a catalogue may have its own `Status`.
    With `compared`, there is an extended column for the change since the version before.
    """
    names = _output_names([header[index] for index in url_columns], renditions)
    layout = _with_columns(header, names[max(1, len(url_columns)) :] if replaces else names, after=0)
    if not extended:
        return layout
    more_names = (*EXTENDED, CHANGE) if compared else EXTENDED
    at_end = len(header) - len(more_names)
    after = at_end if tuple(header[at_end:]) == more_names else min(layout.added_columns, default=len(header))
    more = _with_columns(layout.header, more_names, after=after)
    return ReportLayout(more.header, layout.added_columns + more.added_columns)


def _output_names(image_headers: Sequence[str], renditions: Sequence[str]) -> list[str]:
    """Return the names of the output columns. Only with several image columns do they contain those columns' names."""
    if len(image_headers) <= 1:
        return [OUTPUT if name == "main" else f"{OUTPUT} ({name})" for name in renditions]
    labels = [[header] if name == "main" else [header, name] for name in renditions for header in image_headers]
    names: list[str] = []
    for label in (", ".join(parts) for parts in labels):
        numbered = (f"{OUTPUT} ({label})" if number == 1 else f"{OUTPUT} ({label} {number})" for number in count(1))
        names.append(next(name for name in numbered if name not in names))  # a header may be repeated
    return names


def failures_layout(header: Sequence[str]) -> ReportLayout:
    """Return the layout of `failures.csv`: the upload's header and, if it does not end with one, an `Error` column."""
    return _with_columns(header, [ERROR], after=len(header) - 1)


def _with_columns(header: Sequence[str], names: Iterable[str], *, after: int) -> ReportLayout:
    columns = list(header)
    indexes = []
    for name in names:
        if name not in columns[after:]:
            columns.append(name)
        indexes.append(columns.index(name, after))
    return ReportLayout(tuple(columns), tuple(indexes))


def output_cells(
    slots: Sequence[Slot],
    *,
    counts: Sequence[int] | None = None,
    renditions: int = 1,
    extended: bool = False,
    replaces: bool = False,
) -> list[str]:
    """Return the added cells of one row: each has one entry per URL, possibly empty, joined by `,`.

    `counts` has the number of slots of each image column, if there are several. The extended cells are about all slots.
    """
    groups, added = by_column(slots, counts), range(int(replaces), renditions)
    columns = [[_url(slot, index) for slot in each] for index in added for each in groups]
    if extended:
        columns.append([slot.status for slot in slots])
        columns.append([slot.error or "" for slot in slots])
        columns.append([_number(slot.input_bytes) for slot in slots])
        columns.append([_number(slot.output_bytes) for slot in slots])
    return [",".join(entries) for entries in columns]


def _url(slot: Slot, rendition: int) -> str:
    return slot.urls[rendition] if slot.urls else slot.fallback


def replaced_cells(
    cells: Sequence[str],
    slots: Sequence[Slot],
    *,
    url_columns: Sequence[int],
    counts: Sequence[int] | None = None,
    keeps_text: bool = False,
    keeps_failed: bool = False,
) -> list[str]:
    """Return the cells of one row with the URLs of the first rendition in place of the uploaded ones.

    With `keeps_failed`, a slot without an image stays as it was written.
    """
    row = list(cells)
    for index, group in zip(url_columns, by_column(slots, counts), strict=True):
        urls = [None if keeps_failed and not slot.urls else _url(slot, 0) for slot in group]
        try:
            row[index] = replace_urls(cells[index], urls, keeps_text=keeps_text)
        except ValueError:  # URLs of a JSON upload that no cell can hold apart
            row[index] = join_cell([_url(slot, 0) for slot in group])
    return row


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def failure_row(
    layout: ReportLayout, cells: Sequence[str], *, urls: Mapping[int, Sequence[str]], errors: Sequence[str]
) -> list[str]:
    """Return one row of `failures.csv`: the uploaded row with only the failed `urls` of each image column by its index,
    and the error of each."""
    row = [join_cell(urls[index]) if index in urls else cell for index, cell in enumerate(cells)]
    return layout.row(row, [", ".join(errors)])

"""The table of `output.csv`: the upload with new columns, or with the new URLs in place of the old ones."""

from collections.abc import Iterable, Sequence

from imgsvc.domain.manifest.csv_text import TextRow, render_rows
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.report import Slot, output_cells, output_layout, replaced_cells
from imgsvc.domain.manifest.versions import GONE


class OutputTable:
    """The header and the rows of `output.csv`, and their text as CSV."""

    def __init__(
        self,
        header: Sequence[str],
        file: FileFormat,
        *,
        renditions: Sequence[str] = ("main",),
        extended: bool = False,
        compared: bool = False,
    ) -> None:
        """Take the `header` of the upload; `extended` adds columns for the status, error and sizes of each slot.

        `compared` adds one to these for the change of the row since the version before.
        """
        self.uploaded, self.file, self.extended = header, file, extended
        self.has_changes = extended and compared
        self.replaces, self.renditions = file.output == "replace", tuple(renditions)
        self.layout = output_layout(
            header,
            url_columns=file.url_columns,
            renditions=renditions,
            extended=extended,
            compared=compared,
            replaces=self.replaces,
        )

    @property
    def link_columns(self) -> tuple[int, ...]:
        """The columns with the new URLs."""
        images = self.file.url_columns
        added = self.layout.added_columns[: max(1, len(images)) * (len(self.renditions) - self.replaces)]
        return (*images, *added) if self.replaces else added

    def header(self) -> Sequence[str]:
        return self._like_source(self.layout.header, self.file.header_source, self.uploaded)

    def row(
        self,
        cells: Sequence[str],
        slots: Sequence[Slot],
        *,
        counts: Sequence[int] | None,
        source: str | None,
        change: str = "",
    ) -> Sequence[str]:
        """Return the row of a product with these `cells`, slots per image column, and text if it is kept."""
        added = output_cells(
            slots, counts=counts, renditions=len(self.renditions), extended=self.extended, replaces=self.replaces
        )
        if self.has_changes:
            added.append(change)
        new = cells
        if self.replaces:
            new = replaced_cells(
                cells,
                slots,
                url_columns=self.file.url_columns,
                counts=counts,
                keeps_text=self.file.keeps_text,
                keeps_failed=self.file.on_failed == "original",
            )
        return self._like_source(self.layout.row(new, added), source, cells)

    def gone_row(self, cells: Sequence[str]) -> Sequence[str]:
        """Return a row that only the version before has, of its `cells`; it has no slots."""
        return self.layout.row(cells, [*[""] * (len(self.layout.added_columns) - 1), GONE])

    def _like_source(self, cells: Sequence[str], source: str | None, original: Sequence[str]) -> Sequence[str]:
        return cells if source is None else TextRow(cells, source, original, len(self.uploaded))

    def start(self, *, bom: bool = False) -> str:
        """Return what comes before the header; with `bom`, also a byte order mark, unless cp1252 is written."""
        has_bom = self.file.bom or (bom and self.file.codec == "utf-8")
        return ("\ufeff" if has_bom else "") + self.file.before

    def text(self, rows: Iterable[Sequence[str]], delimiter: str, *, safe: bool = False) -> str:
        """Return the CSV text of some of the rows."""
        return render_rows(rows, delimiter, safe=safe, line_end=self.file.line_end, quoting=self.file.quoting)

"""Tab-separated values: quoted as spreadsheets do, or not at all as in feeds."""

import re
from collections.abc import Iterable, Sequence

from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.formats.report_shape import ReportShape

_BREAKS = re.compile(r"[\t\r\n]+")


class TsvWriter:
    """Writes rows with tabs between the cells."""

    def __init__(self, shape: ReportShape) -> None:
        self._shape = shape

    def begin(self) -> str:
        return ("\ufeff" if self._shape.bom else "") + self.rows([self._shape.header])

    def rows(self, rows: Iterable[Sequence[str]]) -> str:
        if self._shape.file_format.bare_quotes and not self._shape.safe:
            return "".join("\t".join(_BREAKS.sub(" ", cell) for cell in row) + "\r\n" for row in rows)
        return render_rows(rows, "\t", safe=self._shape.safe)

    def end(self) -> str:
        return ""

"""Items with named values (JSON Lines, XML feeds) as rows: the columns are all names, by their first appearance."""

from collections.abc import Mapping

from imgsvc.domain.manifest.records import MAX_COLUMNS, over_limit
from imgsvc.domain.manifest.rows_file import RowsWriter


class ItemRows:
    """Writes items as rows, and finds out what an empty cell means in each column."""

    def __init__(self, out: RowsWriter) -> None:
        self.out = out
        self.columns: dict[str, int] = {}
        self.count = 0
        self._nulls: set[int] = set()
        self._blanks: set[int] = set()
        self._present: dict[int, int] = {}

    def column(self, name: str) -> int:
        """Return the index of the column `name`, which is added if it is new."""
        index = self.columns.setdefault(name, len(self.columns))
        if index >= MAX_COLUMNS:
            raise over_limit(f"The items have more than {MAX_COLUMNS:,} different names.")
        return index

    def add(self, number: int, item: Mapping[int, str | None]) -> None:
        """Write the cells of an item by column; None is a null."""
        self.count += 1
        for column, text in item.items():
            self._present[column] = self._present.get(column, 0) + 1
            if not text:
                (self._nulls if text is None else self._blanks).add(column)
        self.out.add(number, [item.get(column) or "" for column in range(len(self.columns))])

    def finish(self, number: int) -> None:
        """Set the header, which is said to be in row `number`."""
        self.out.set_header(number, list(self.columns))

    def empty_columns(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the columns whose empty cells are nulls, and those whose empty cells are empty values.

        In all others, an empty cell of the report is left out: its item may not have had it.
        """
        always = {column for column, count in self._present.items() if count == self.count}
        nulls, blanks = self._nulls - self._blanks, self._blanks - self._nulls
        return tuple(sorted(nulls & always)), tuple(sorted(blanks & always))

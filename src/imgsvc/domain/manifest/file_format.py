"""Facts about an uploaded file that its report needs to look like it."""

from typing import Literal

from pydantic import BaseModel


class FileFormat(BaseModel, frozen=True):
    """The format of an upload, stored with its batch. The defaults describe the reports of a batch without one.

    The batch itself has the encoding and the delimiter.
    """

    preset: str | None = None
    serial_column: int | None = None
    name_column: int | None = None
    url_columns: tuple[int, ...] = ()
    """The indexes of the image columns; empty: the batch's `url_column` is the only one."""
    keeps_text: bool = False
    """Text in the image columns that is not a URL has no slot."""
    bom: bool = False
    """The file begins with a byte order mark."""
    line_end: Literal["\r\n", "\n", "\r"] = "\r\n"
    quoting: Literal["minimal", "all"] = "minimal"
    """The cells that are quoted: those that need it, or all. Rows that differ are stored with their text."""
    before: str = ""
    """The lines before the header, such as `sep=;`, with their line ends."""

    format: str = "csv"
    """The name of the format in the table of formats; the wrapper of a packed file is not kept."""
    sheet: str | None = None
    """The sheet of a workbook that was read."""
    bare_quotes: bool = False
    """Quotation marks are text: cells separated by tabs are never quoted."""
    numbers: tuple[int, ...] = ()
    """Columns in which a cell that looks like a number is one, and likewise for dates and booleans."""
    dates: tuple[int, ...] = ()
    booleans: tuple[int, ...] = ()
    lists: tuple[int, ...] = ()
    """Columns with several values in an item of a feed or of JSON Lines."""
    json_values: tuple[int, ...] = ()
    """Columns of JSON Lines in which a cell that is JSON was a value and not a string."""
    nulls: tuple[int, ...] = ()
    """Columns of JSON Lines whose empty cells were `null`."""
    blanks: tuple[int, ...] = ()
    """Columns of a feed or of JSON Lines whose empty cells were empty values; other empty cells did not exist."""
    elements: tuple[str, ...] = ()
    """The elements of the columns of an XML feed, with their prefixes; an attribute of the item begins with `@`."""
    item: str = "item"
    """The element of an item of an XML feed."""
    head: str = ""
    """The text of an XML feed before its first item."""
    tail: str = ""
    """The text of an XML feed after its last item."""

"""Facts about an uploaded file that its report needs to look like it."""

from typing import Literal

from pydantic import BaseModel

OutputMode = Literal["append", "replace"]
"""`append`: the output has new columns; `replace`: the new URLs take the place of the old ones."""
Quoting = Literal["minimal", "all", "blanks"]
"""The cells that are quoted: those that need it; all; those that PHP's `fputcsv` quotes, as needed or with blanks."""


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
    output: OutputMode = "append"
    on_failed: str = "empty"
    """Entry of a slot without an image: `empty`, `original` (its own URL), or a URL."""

    # Facts that are read only if the output replaces the URLs; otherwise it is written as UTF-8 with CRLF.
    codec: Literal["utf-8", "utf-16-le", "utf-16-be", "cp1252"] = "utf-8"
    bom: bool = False
    """The file begins with a byte order mark."""
    line_end: Literal["\r\n", "\n", "\r"] = "\r\n"
    quoting: Quoting = "minimal"
    """The habit of most rows; those that differ are stored with their text."""
    before: str = ""
    """The lines before the header, with their line ends: of a template, or `sep=;`."""
    header_source: str | None = None
    """The text of the header row, like `Product.source`."""

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

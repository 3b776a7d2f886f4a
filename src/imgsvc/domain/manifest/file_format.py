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

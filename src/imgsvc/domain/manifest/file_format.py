"""Facts about an uploaded file that its report needs to look like it."""

from typing import Literal

from pydantic import BaseModel


class FileFormat(BaseModel, frozen=True):
    """The format of an upload, stored with its batch. The defaults describe the reports of a batch without one.

    The batch itself has the encoding and the delimiter.
    """

    bom: bool = False
    """The file begins with a byte order mark."""
    line_end: Literal["\r\n", "\n", "\r"] = "\r\n"
    quoting: Literal["minimal", "all"] = "minimal"
    """The cells that are quoted: those that need it, or all. Rows that differ are stored with their text."""
    before: str = ""
    """The lines before the header, such as `sep=;`, with their line ends."""

"""The columns of an upload: their roles, their usual names, and the names given by the client."""

from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field


class Role(NamedTuple):
    """The role of a column; `aliases` are in order of preference, for headers that contain several of them."""

    meaning: str
    examples: str
    aliases: str


ROLES = {
    "serial_number": Role(
        "the serial number",
        "`S. No.`, `Serial Number` or `ID`",
        "serialnumber sno srno slno serialno serial no number nr # id",
    ),
    "product_name": Role(
        "the product name",
        "`Product Name`, `Name` or `Title`",
        "productname product name sku title handle",
    ),
    "image_urls": Role(
        "the image URLs",
        "`Input Image Urls`, `image_urls` or `Image Src`",
        "inputimageurls inputimageurl imageurls imageurl images imagesrc imagelinks imagelink "
        "additionalimages additionalimagelinks additionalimagelink productimages image",
    ),
}


_Header = Annotated[str, Field(min_length=1)]


class Columns(BaseModel, frozen=True, extra="forbid", str_strip_whitespace=True):
    """The headers of the required columns; case, blanks and punctuation are ignored."""

    serial_number: str | None = Field(
        min_length=1, description="Header of the column with the serial numbers; null: products are numbered from 1."
    )
    product_name: str = Field(min_length=1, description="Header of the column with the product names.")
    image_urls: _Header | Annotated[list[_Header], Field(min_length=1, max_length=100)] = Field(
        union_mode="left_to_right", description="Header of the column with the image URLs, or a list of several."
    )

    @property
    def image_headers(self) -> list[str]:
        return [self.image_urls] if isinstance(self.image_urls, str) else self.image_urls


class ColumnLayout(NamedTuple):
    """The header as uploaded and the index of each column; products are numbered if `serial_number` is None.

    `line` is that of the header; a template has records above it. `preset` found the columns, if any did.
    """

    delimiter: str
    header: list[str]
    serial_number: int | None
    product_name: int
    image_urls: tuple[int, ...]
    line: int = 1
    is_template: bool = False
    preset: str | None = None
    spans_rows: bool = False
    keeps_text: bool = False

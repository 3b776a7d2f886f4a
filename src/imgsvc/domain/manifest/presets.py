"""Presets: the columns of the exports of known systems, found by their headers."""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class Preset(NamedTuple):
    """The columns of one system's export.

    The patterns are compared with whole headers in lower case, without blanks and punctuation. In the columns with a
    blank between patterns, the first pattern that any header matches counts.
    """

    name: str
    required: str
    """Headers that identify the system: all must exist."""
    serial_number: str
    """The rows are numbered if there is no such header."""
    product_name: str
    image_urls: str
    """All headers that match are image columns."""
    spans_rows: bool = False
    """A product may continue in rows without a name or serial number of their own."""
    keeps_text: bool = False
    """The image columns also contain file names and other text, which is no error and is returned unchanged."""


PRESETS = (
    Preset(
        "shopify",
        required="(url)?handle title (imagesrc|productimageurl)",
        serial_number="(url)?handle",
        product_name="title",
        image_urls="imagesrc|variantimage|(product|variant)imageurl",
        spans_rows=True,
    ),
    Preset(
        "woocommerce",
        required="type sku name images",
        serial_number="id sku",
        product_name="name",
        image_urls="images",
    ),
    Preset(
        "magento",
        required="sku baseimage",
        serial_number="sku",
        product_name="name sku",
        image_urls="(base|small|thumbnail|swatch)image|additionalimages",
        spans_rows=True,
        keeps_text=True,
    ),
    Preset(
        "prestashop",
        required="imageurlsxyz",
        serial_number="productid id",
        product_name="name productreference reference",
        image_urls="imageurlsxyz",
    ),
    Preset(
        "akeneo",
        required="(sku|identifier|uuid) family enabled .*(image|pict|photo).*",
        serial_number="identifier sku uuid",
        product_name="name.* label.* identifier sku uuid",
        image_urls="(?!.*(alt|label|name|title)).*(image|pict|photo).*",
        keeps_text=True,
    ),
    Preset(
        "etsy",
        required="title description price image1",
        serial_number="",
        product_name="title",
        image_urls=r"image\d+",
    ),
    Preset(
        "ebay",
        required="action.* (title|name) picurl",
        serial_number="itemid id customlabelsku customlabel",
        product_name="title name",
        image_urls="picurl",
        spans_rows=True,
        keeps_text=True,
    ),
    Preset(
        "bigcommerce",
        required=r"(product)?name productimage(file|url)\d+",
        serial_number="productid id productcodesku sku",
        product_name="productname name",
        image_urls=r"productimage(file|url)\d+",
        spans_rows=True,
        keeps_text=True,
    ),
    Preset(
        "amazon",
        required="(item)?sku mainimageurl",
        serial_number="itemsku sku",
        product_name="itemname itemsku sku",
        image_urls=r"(main|other|swatch)imageurl\d*",
    ),
    Preset(
        "google_merchant",
        required="id title imagelink",
        serial_number="id",
        product_name="title",
        image_urls="(additional|lifestyle)?imagelinks?",
    ),
)
_MAX_NAME = 200
"""Characters of a header that are compared: what is searched for a header may be a row with long texts."""
BASIC = "basic"
"""The format without a preset of its own: three columns with any of the usual names."""


def normal(name: str) -> str:
    """Return a header without what does not distinguish it: case, blanks and punctuation."""
    return "".join(filter(str.isalnum, name.lower())) or name.strip()


def find_preset(header: Sequence[str]) -> Preset | None:
    """Return the first preset whose required headers all exist."""
    text = "\n".join(_names(header))
    return next((each for each in PRESETS if all(_line(part).search(text) for part in each.required.split())), None)


def preset_columns(preset: Preset, header: Sequence[str]) -> tuple[int | None, int, tuple[int, ...]]:
    """Return the indexes of the serial number (None: there is none), the product name, and the image columns."""
    names = _names(header)
    name = _first(names, preset.product_name)
    return (
        _first(names, preset.serial_number),
        0 if name is None else name,
        tuple(index for index, name in enumerate(names) if re.fullmatch(preset.image_urls, name)),
    )


def _names(header: Sequence[str]) -> list[str]:
    return [normal(cell[:_MAX_NAME]) for cell in header]


def _first(names: Sequence[str], patterns: str) -> int | None:
    found = (index for part in patterns.split() for index, name in enumerate(names) if re.fullmatch(part, name))
    return next(found, None)


@cache
def _line(pattern: str) -> re.Pattern[str]:
    return re.compile(f"^(?:{pattern})$", re.MULTILINE)

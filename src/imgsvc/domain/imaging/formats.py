"""The table of output formats, with one row each; all code that depends on the format reads it here.

docs/adding/format.md describes how to add one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Alpha = Literal["none", "binary", "full"]
Options = dict[str, Any]


class Format(StrEnum):
    """The format to write; `original` keeps the format of the input if browsers show it."""

    original = "original"
    jpeg = "jpeg"
    png = "png"
    webp = "webp"
    avif = "avif"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutputFormat:
    """An output format: one row of the table."""

    name: str
    """Pillow's name in lower case; the API's `output_format`."""
    title: str
    """The name in prose."""
    extension: str
    """Lower-case letters and digits, without a dot."""
    media_type: str
    kept_from: tuple[str, ...] = ()
    """Pillow's names of the input formats that `original` keeps as this one."""

    max_side: int | None
    """Largest side in pixels that the format can hold; None: larger than any accepted image."""
    max_metadata_bytes: int = 2**20
    """Longest block of EXIF or XMP. A rendition must not consist mostly of its metadata."""
    alpha: Alpha
    """`none`: transparent images are pasted on the background; `binary`: a pixel is opaque or fully transparent."""
    animated: bool

    options: Callable[[int], Options] = lambda _quality: {}
    """Pillow's options by quality. docs/compression.md has the reasons for them."""
    animation_options: Callable[[float], Options] = lambda _megapixels: {}
    """Further options for an animation by the megapixels of all its frames: even 250 MP must finish in time.

    docs/compression.md shows how many bytes the lower effort costs.
    """

    encoding_weight: float
    """Memory of the encoder per pixel, in the unit of memory_cost.py (8 bytes)."""
    seconds_per_megapixel: float
    """CPU time of the encoder in the worst case, which is noise."""


JPEG = OutputFormat(
    name="jpeg",
    title="JPEG",
    extension="jpg",
    media_type="image/jpeg",
    kept_from=("JPEG", "MPO"),
    max_side=65_500,  # libjpeg's JPEG_MAX_DIMENSION; the format has 16 bits
    max_metadata_bytes=65_000,  # a segment holds 65,533
    alpha="none",
    animated=False,
    options=lambda quality: {"quality": quality, "subsampling": "4:2:0" if quality <= 90 else "4:4:4"},
    encoding_weight=0.0,  # written line by line
    seconds_per_megapixel=0.02,
)
PNG = OutputFormat(
    name="png",
    title="PNG",
    extension="png",
    media_type="image/png",
    kept_from=("PNG",),
    max_side=None,
    alpha="full",
    animated=True,
    animation_options=lambda megapixels: {
        "compress_level": 6 if megapixels <= 30 else 3 if megapixels <= 100 else 1,
    },
    encoding_weight=1.5,
    seconds_per_megapixel=0.3,
)
WEBP = OutputFormat(
    name="webp",
    title="WebP",
    extension="webp",
    media_type="image/webp",
    kept_from=("WEBP",),
    max_side=16_383,  # 14 bits (RFC 9649 §2.6)
    alpha="full",
    animated=True,
    options=lambda quality: {"quality": quality, "method": 4},
    animation_options=lambda megapixels: {"method": 4 if megapixels <= 60 else 2 if megapixels <= 120 else 0},
    encoding_weight=1.0,
    seconds_per_megapixel=0.2,
)
AVIF = OutputFormat(
    name="avif",
    title="AVIF",
    extension="avif",
    media_type="image/avif",
    kept_from=("AVIF",),
    max_side=32_768,  # libavif reads no more
    alpha="full",
    animated=True,
    options=lambda quality: {"quality": quality, "speed": 8, "max_threads": 1},
    animation_options=lambda megapixels: {"speed": 8 if megapixels <= 60 else 10},
    encoding_weight=3.0,
    seconds_per_megapixel=0.65,
)
GIF = OutputFormat(  # only for an animated GIF that keeps its format
    name="gif",
    title="GIF",
    extension="gif",
    media_type="image/gif",
    max_side=65_535,  # 16 bits
    alpha="binary",
    animated=True,
    animation_options=lambda megapixels: {"careful": megapixels <= 60},  # an option of write_gif.py
    encoding_weight=1.0,
    seconds_per_megapixel=0.2,
)

OUTPUT_FORMATS = {row.name: row for row in (JPEG, PNG, WEBP, AVIF, GIF)}
"""All rows by name. A row stays as long as renditions in its format are stored."""
KEPT_FORMATS = {input_format: row for row in OUTPUT_FORMATS.values() for input_format in row.kept_from}
"""Rows by the input format that `original` keeps. Other inputs become JPEG, or PNG if they are transparent."""


def in_prose(rows: Sequence[OutputFormat], conjunction: str = "and") -> str:
    """Return the titles of `rows` as a list in a sentence: `JPEG, PNG and WebP`."""
    *others, last = [row.title for row in rows]
    return f"{', '.join(others)} {conjunction} {last}" if others else last

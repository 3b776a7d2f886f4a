"""Bytes to frames: what may be opened, how large it may be, and Pillow's reading errors translated once."""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import AvifImagePlugin, ExifTags, Image, ImageFile

from imgsvc.domain.signatures import format_by_signature
from imgsvc.errors import CodecError, DecodeError, NotAnImage, TooManyPixels, UnsupportedFormat

MOVING_FORMATS = frozenset({"GIF", "PNG", "WEBP", "AVIF"})

# All that Pillow's plugins were seen to raise on damaged files. `Warning` is one of them under `python -W error`.
READING_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error,
)  # fmt: skip


class MorePixels(Exception):
    """The header asks for more pixels than the caller has reserved: reserve `pixels`, then call again.

    They are weighted by what the formats take of memory (weights.py).
    """

    def __init__(self, pixels: int) -> None:
        super().__init__(f"{pixels} pixels")
        self.pixels = pixels


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """`max_pixels` is width × height × frames; `formats` are Pillow's names of what may be opened."""

    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "ICO", "JPEG2000")


def prepare_pillow(limits: CodecLimits) -> None:
    """Set what Pillow keeps per process; call it once at start, before any thread compresses.

    `compress` works without it, but then Pillow prints its warnings, imports its plugins in the first thread that needs
    them, and refuses hidden sizes (an icon's inner PNG, a frame larger than its canvas) only from 179 MP on.
    """
    Image.init()
    Image.MAX_IMAGE_PIXELS = -(-limits.max_pixels // 2)  # Pillow warns above it and refuses above twice as many
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the pool of codec threads is as large as it should be
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # pictures with faults that do not show; one line each per host


@contextmanager
def reading(limits: CodecLimits, fault: Callable[[], CodecError] = DecodeError) -> Iterator[None]:
    """The one place where Pillow's reading errors become ours; `fault` says which, DecodeError unless told."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many(limits) from exc
    except READING_FAILURES as exc:
        raise fault() from exc


def _too_many(limits: CodecLimits) -> TooManyPixels:
    return TooManyPixels(f"The picture, all frames together, has more than {limits.max_pixels / 1e6:g} million pixels.")


def open_image(data: bytes, limits: CodecLimits) -> ImageFile.ImageFile:
    """Read the header only (an ICO is decoded whole: Pillow offers nothing less).

    Raises:
        NotAnImage, UnsupportedFormat, TooManyPixels, DecodeError: as their names say.
    """
    # MPO is not a plugin of its own: Pillow finds out while it reads a JPEG.
    formats = tuple(name for name in limits.formats if name != "MPO")
    with reading(limits, lambda: _why_it_did_not_open(data, limits)):
        image = Image.open(BytesIO(data), formats=formats)
    _fit_key(image)
    image.decodermaxblock = max(len(data), ImageFile.MAXBLOCK)  # fewer turns at the GIL than one per 64 kB
    return image


def _fit_key(image: ImageFile.ImageFile) -> None:
    """Pillow brings the pixels of a PNG to 8 bits, but not the value that stands for transparent (as of version 13)."""
    key, rawmode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, int) and rawmode in {"L;2", "L;4"}:
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}[rawmode]
    elif isinstance(key, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _why_it_did_not_open(data: bytes, limits: CodecLimits) -> CodecError:
    name = format_by_signature(data)
    if name is None:
        return NotAnImage()
    if name in limits.formats:
        return DecodeError()
    return UnsupportedFormat(f"{name} pictures are not accepted.")


def check_pixels(image: ImageFile.ImageFile, frames: int, limits: CodecLimits) -> None:
    """By what the header says.

    Raises:
        TooManyPixels: in all frames together.
    """
    if image.width * image.height * frames > limits.max_pixels:
        raise _too_many(limits)


def count_frames(image: ImageFile.ImageFile) -> int:
    """How many frames an animation has; 1 for pictures, pages, and animations that cannot be counted."""
    if image.format not in MOVING_FORMATS:
        return 1
    try:
        return max(1, int(getattr(image, "n_frames", 1)) - _stills(image))
    except READING_FAILURES:
        return 1


def _stills(image: ImageFile.ImageFile) -> int:
    """An APNG may begin with a still for programs that know no animation: it is no frame."""
    return 1 if image.info.get("default_image") else 0


def read_frames(image: ImageFile.ImageFile, count: int) -> Iterator[Image.Image]:
    """Decode `count` frames in order; an animation ends before a damaged one, or is its still if that is the first."""
    if count == 1:
        image.load()
        yield image
        return
    stills, first = _stills(image), image.copy()
    if not stills:
        yield first
    for index in range(1, count + stills):
        try:
            image.seek(index)
            frame = image.copy()
        except READING_FAILURES:
            if index == stills:
                yield first
            return
        yield frame


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF block, empty where it cannot be read: a damaged one is no reason to refuse a good picture.

    Pillow takes an orientation from XMP where EXIF has none; browsers do not, and what they show is what is meant.
    """
    hidden: dict[str | tuple[int, int], Any] = {
        name: image.info.pop(name) for name in ("xmp", "XML:com.adobe.xmp") if name in image.info
    }
    try:
        exif = image.getexif()
        exif.get(ExifTags.Base.Orientation)
    except READING_FAILURES:
        return Image.Exif()
    finally:
        image.info.update(hidden)
    return exif


def read_plays(image: Image.Image) -> int:
    """How often an animation plays, 0 for ever. GIF counts repetitions, and plays once when it says nothing."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return loop or 0
    if loop is None:
        return 1
    return loop + 1 if loop else 0

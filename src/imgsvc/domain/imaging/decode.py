"""Opens images: accepted formats, size limits, and the translation of Pillow's errors."""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import takewhile
from typing import Any

from PIL import AvifImagePlugin, ExifTags, Image, ImageFile, PngImagePlugin

from imgsvc.domain.imaging.file_structure.frame_counts import Layout
from imgsvc.domain.imaging.file_structure.png_chunks import png_chunks
from imgsvc.domain.imaging.file_types import format_by_signature
from imgsvc.errors import CodecError, DecodeError, NotAnImage, TooManyFrames, TooManyPixels, UnsupportedFormat

ANIMATED_FORMATS = frozenset({"GIF", "PNG", "WEBP", "AVIF"})

MAX_PROFILE_BYTES = 4 * 2**20
"""Limit of an ICC profile; profiles for printing presses have up to 3 MB. A longer one is ignored."""
MAX_EXIF_BYTES = 2**20
"""Limit of an EXIF block, which Pillow turns into objects: 0.4 GB for 4 MB. A longer block is ignored."""

OPENED_LAZILY = (b"GIF8", b"\x89PNG")
"""First bytes of formats whose first frame is read without the others; WebP and AVIF are read whole when opened."""

# All errors that Pillow's plugins were seen to raise on damaged files; `Warning` is raised under `python -W error`.
READING_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error,
)  # fmt: skip


class NotDecoded(Exception):
    """The image was not decoded; it needs a reservation of `pixels`, weighted by memory (memory_cost.py)."""

    def __init__(self, pixels: int) -> None:
        super().__init__(f"{pixels} pixels")
        self.pixels = pixels


class TooSlowForThread(NotDecoded):
    """The image may block a thread for long: compress it in a separate process."""


class ReservationTooSmall(NotDecoded):
    """The caller has reserved fewer pixels: reserve `pixels`, then call again."""


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """Limits of the input.

    `max_pixels` limits an image and each frame of an animation (width × height), `max_animation_pixels` the total of
    all frames; `formats` are Pillow's names of the formats that may be opened.
    """

    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "ICO", "JPEG2000")
    max_frames: int = 2_000
    max_animation_pixels: int = 250_000_000


def prepare_pillow(limits: CodecLimits) -> None:
    """Set Pillow's process-wide options; call it once at start, before any thread compresses.

    `compress` works without it, but then Pillow prints its warnings, imports its plugins in the first thread that needs
    them, and refuses sizes that are not in the header (an icon's inner PNG, a frame larger than its canvas) only above
    179 MP.
    """
    Image.init()
    Image.MAX_IMAGE_PIXELS = -(-limits.max_pixels // 2)  # Pillow warns above it and refuses above twice as many
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # Pillow's default is a quarter of it and refuses the image
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the codec's thread pool is the parallelism
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about faults that are not visible in the image


@contextmanager
def reading(limits: CodecLimits, fault: Callable[[], CodecError] = DecodeError) -> Iterator[None]:
    """Translate Pillow's errors inside the block to TooManyPixels or the error that `fault` returns."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_many(limits) from exc
    except READING_FAILURES as exc:
        raise fault() from exc


def _too_many(limits: CodecLimits) -> TooManyPixels:
    return TooManyPixels(f"The image has more than {limits.max_pixels / 1e6:g} million pixels.")


def _too_many_frames(limits: CodecLimits) -> TooManyFrames:
    return TooManyFrames(f"The animation has more than {limits.max_frames:,} frames.")


def open_image(data: bytes, limits: CodecLimits, layout: Layout) -> ImageFile.ImageFile:
    """Read the header (of an ICO, Pillow reads everything).

    Raises:
        NotAnImage, UnsupportedFormat, TooManyFrames, TooManyPixels, DecodeError: see their docstrings.
    """
    if layout.frames > limits.max_frames and not data.startswith(OPENED_LAZILY):
        raise _too_many_frames(limits)
    # MPO has no plugin of its own: Pillow detects it while it reads a JPEG.
    formats = tuple(name for name in limits.formats if name != "MPO")
    with reading(limits, lambda: _open_error(data, limits)):
        image = Image.open(BytesIO(_without_long_profiles(data)), formats=formats)
    _scale_transparency_key(image)
    image.decodermaxblock = max(
        len(data), ImageFile.MAXBLOCK
    )  # Pillow waits for the GIL after each block; its default is 64 kB
    return image


def _without_long_profiles(data: bytes) -> bytes:
    """Return `data` without ICC profiles that are too long: Pillow would refuse to open the PNG."""
    if not data.startswith(b"\x89PNG"):
        return data
    kept, at = [], 0
    for kind, start, end in takewhile(lambda chunk: chunk.kind != b"IDAT", png_chunks(data)):
        if kind == b"iCCP" and _is_long(data[start:end].partition(b"\0")[2][1:]):
            kept.append(data[at : start - 8])
            at = end + 4  # after its checksum
    return b"".join([*kept, data[at:]]) if kept else data


def _is_long(packed: bytes) -> bool:
    with suppress(zlib.error):  # Pillow ignores such a profile
        return len(zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES + 1)) > MAX_PROFILE_BYTES
    return False


def _scale_transparency_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent value of a PNG to 8 bits; Pillow 13 scales only the pixels."""
    key, rawmode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, int) and rawmode in {"L;2", "L;4"}:
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}[rawmode]
    elif isinstance(key, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _open_error(data: bytes, limits: CodecLimits) -> CodecError:
    name = format_by_signature(data)
    if name is None:
        return NotAnImage()
    if name in limits.formats:
        return DecodeError()
    return UnsupportedFormat(f"{name} images are not accepted.")


def check_size(image: ImageFile.ImageFile, frames: int, layout: Layout, limits: CodecLimits) -> None:
    """Check the size of an opened image by its header and layout; `frames` frames will be decoded.

    Raises:
        TooManyFrames, TooManyPixels: over a limit.
    """
    if frames > limits.max_frames:
        raise _too_many_frames(limits)
    width, height = image.size
    if frames > 1:
        width, height = max(width, layout.width), max(height, layout.height)
    if width * height > limits.max_pixels:
        raise _too_many(limits)
    if frames > 1 and width * height * frames > limits.max_animation_pixels:
        most = f"{limits.max_animation_pixels / 1e6:g}"
        raise TooManyPixels(f"The frames of the animation have more than {most} million pixels in total.")


def read_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF block, empty if it cannot be read: a damaged block is no reason to refuse an image.

    XMP is hidden from Pillow, which takes the orientation from it if EXIF has none; browsers do not.
    """
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return Image.Exif()
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

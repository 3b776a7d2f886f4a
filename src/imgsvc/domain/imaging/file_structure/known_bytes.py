"""What of an original may be handed on: every byte of it has to be accounted for, as what its format needs."""

from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.avif import check_avif
from imgsvc.domain.imaging.file_structure.gif import known_gif
from imgsvc.domain.imaging.file_structure.jpeg import check_jpeg
from imgsvc.domain.imaging.file_structure.png import check_png, is_damaged_png
from imgsvc.domain.imaging.file_structure.webp import check_webp

Blocks = Sequence[bytes]
"""EXIF, as TIFF without a prefix."""


def is_damaged(data: bytes, image_format: str) -> bool:
    """Return whether browsers may refuse `data`, though it could be decoded here: a PNG with a wrong checksum."""
    return image_format == "PNG" and is_damaged_png(data)


def known_bytes(data: bytes, image_format: str, exif: Blocks) -> bytes | None:
    """Return `data` as far as it is made of known parts, or None where something in it is not known.

    PreviousResult is what its format needs to show the image, and one of the blocks `exif`. Of AVIF only
    stills of few tiles are. A GIF may come back with other colours where no pixel uses them.
    """
    read = _READERS.get(image_format)
    if read is None:
        return None
    try:
        return read(data, exif)
    except (*READING_FAILURES, Image.DecompressionBombError):
        return None


def _checked(check: Callable[[bytes, Blocks], None]) -> Callable[[bytes, Blocks], bytes]:
    def read(data: bytes, exif: Blocks) -> bytes:
        check(data, exif)
        return data

    return read


_READERS: Mapping[str, Callable[[bytes, Blocks], bytes]] = {
    "JPEG": _checked(check_jpeg),
    "PNG": _checked(check_png),
    "WEBP": _checked(check_webp),
    "AVIF": _checked(lambda data, _: check_avif(data)),
    "GIF": lambda data, _: known_gif(data),
}

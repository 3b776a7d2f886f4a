"""Account for every byte of an original, so that no hidden data is passed on."""

from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.avif import check_avif
from imgsvc.domain.imaging.file_structure.gif import known_gif
from imgsvc.domain.imaging.file_structure.jpeg import check_jpeg
from imgsvc.domain.imaging.file_structure.png import check_png, is_damaged_png
from imgsvc.domain.imaging.file_structure.webp import check_webp

Blocks = Sequence[bytes]
"""EXIF blocks as TIFF, without the `Exif` prefix."""


def is_damaged(data: bytes, image_format: str) -> bool:
    """Return whether browsers may refuse `data` although Pillow decodes it: a PNG with a wrong checksum."""
    return image_format == "PNG" and is_damaged_png(data)


def known_bytes(data: bytes, image_format: str, exif: Blocks) -> bytes | None:
    """Return the file if every byte of it is accounted for; None otherwise.

    Bytes that the format needs to show the image, and the blocks in `exif`, are accounted for. AVIF is supported only
    for still images of few tiles. In a GIF, colours that no pixel uses are returned as black.
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

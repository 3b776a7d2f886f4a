"""What a rendition says about its image: which EXIF and XMP stays, and what the original bytes would give away."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, TiffTags

from imgsvc.domain.imaging.credits import ARTIST, COPYRIGHT
from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.known_bytes import is_damaged, known_bytes
from imgsvc.domain.imaging.formats import OutputFormat

POINTERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Tags that describe how a TIFF lays out its own pixels, and the orientation that has been applied.
LAYOUT = frozenset(
    {0x0111, 0x0112, 0x011C, 0x02BC, 0x83BB, 0x8649, 0x8773}
    | {*range(0x00FE, 0x010E), *range(0x0115, 0x011A), *range(0x013D, 0x015C), *range(0x0200, 0x0215)}
)
# Pillow's names for the blocks beside EXIF that may say where and by whom an image was taken.
OTHER_BLOCKS = (
    "xmp",
    "XML:com.adobe.xmp",
    "photoshop",
    "Raw profile type xmp",
    "Raw profile type iptc",
    "Raw profile type APP1",
)
MAKER_NOTE = 0x927C
PREFIX = b"Exif\0\0"
TURN_IN_XMP = re.compile(rb"""(tiff:Orientation(?:>|=["']))[2-8]""")


def orientation_of(exif: Image.Exif) -> int:
    """1 to 8 as in EXIF; 1 (upright) where the tag is missing or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_to_keep(exif: Image.Exif, credit_tags: Mapping[int, str | bytes], policy: str, target: OutputFormat) -> bytes:
    """The EXIF block to write under `policy` (none, copyright, all); empty where there is nothing to keep.

    What is too long for the target goes without the camera maker's own notes, or else with the credits alone.
    """
    if policy == "none":
        return b""
    ways: list[Callable[[], Mapping[int, Any]]] = [lambda: credit_tags]
    if policy == "all":
        ways[:0] = [lambda: {**_all_of(exif), **credit_tags}, lambda: {**_all_of(exif, MAKER_NOTE), **credit_tags}]
    for tags in ways:
        with suppress(*READING_FAILURES):
            block = _block(tags())
            if len(block) <= target.max_metadata_bytes:
                return block
    return b""


def _all_of(exif: Image.Exif, *without: int) -> dict[int, Any]:
    tags: dict[int, Any] = {tag: exif[tag] for tag in exif if tag not in LAYOUT and tag not in POINTERS}
    for pointer in POINTERS:
        if pointer in exif:
            # The pointer to the camera's interoperability table would point nowhere in the new block.
            left_out = {ExifTags.IFD.Interop, *without}
            tags[pointer] = {tag: value for tag, value in exif.get_ifd(pointer).items() if tag not in left_out}
    return tags


def _block(tags: Mapping[int, Any], order: str = "<") -> bytes:
    """Write `tags` in little (`<`) or big endian (`>`) order."""
    kept = Image.Exif()
    kept.endian = order
    for tag, value in tags.items():
        if isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII:
            # The very bytes that were read (as Latin-1, whatever they are): Pillow writes ? for what is no ASCII.
            kept[tag] = value.encode("latin-1", "replace")
        else:
            kept[tag] = value
    return kept.tobytes() if kept else b""


def xmp_to_keep(info: Mapping[str | tuple[int, int], Any], policy: str, target: OutputFormat) -> bytes:
    """The XMP packet to write under `policy`, upright; empty where there is nothing to keep."""
    packet = info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if policy != "all" or len(packet) > target.max_metadata_bytes:
        return b""
    return TURN_IN_XMP.sub(rb"\g<1>1", packet)


def leaks_metadata(info: Mapping[str | tuple[int, int], object], exif: Image.Exif, policy: str) -> bool:
    """Whether the image was read with metadata that `policy` drops."""
    if policy == "all":
        return False
    if any(block in info for block in OTHER_BLOCKS):
        return True
    unreadable = "exif" in info and not exif
    allowed = (ARTIST, COPYRIGHT) if policy == "copyright" else ()
    return unreadable or any(tag not in allowed for tag in exif) or bool(exif.get_ifd(ExifTags.IFD.IFD1))


def bytes_to_keep(data: bytes, image_format: str, credit_tags: Mapping[int, str | bytes], policy: str) -> bytes | None:
    """Return the bytes of an original that may be handed on under `policy`, None where it has to be written anew.

    Under `none` and `copyright` they hold nothing that a rendition would not hold: no comment, no colour profile, no
    program's name, no EXIF but the very block that a rendition gets, in either byte order.
    """
    if policy == "all":
        return None if is_damaged(data, image_format) else data
    blocks = (
        [_block(credit_tags, order)[len(PREFIX) :] for order in "<>"] if policy == "copyright" and credit_tags else []
    )
    return known_bytes(data, image_format, blocks)

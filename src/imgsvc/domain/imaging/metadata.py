"""Metadata policy: the EXIF and XMP that a rendition keeps, and the metadata that an original would leak."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, TiffTags

from imgsvc.domain.imaging.credits import ARTIST, COPYRIGHT
from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.known_bytes import is_damaged, known_bytes
from imgsvc.domain.imaging.formats import OutputFormat
from imgsvc.domain.imaging.xmp import packet_of, packet_with

POINTER_TAGS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Tags that describe how a TIFF stores its pixels, and the orientation, which has been applied.
LAYOUT_TAGS = frozenset(
    {0x0111, 0x0112, 0x011C, 0x02BC, 0x83BB, 0x8649, 0x8773}
    | {*range(0x00FE, 0x010E), *range(0x0115, 0x011A), *range(0x013D, 0x015C), *range(0x0200, 0x0215)}
)
# Pillow's names for further blocks that may reveal where and by whom an image was taken.
OTHER_BLOCKS = (
    "xmp",
    "XML:com.adobe.xmp",
    "photoshop",
    "Raw profile type xmp",
    "Raw profile type iptc",
    "Raw profile type APP1",
)
MAKER_NOTE = 0x927C
EXIF_PREFIX = b"Exif\0\0"
ORIENTATION_IN_XMP = re.compile(rb"""(tiff:Orientation(?:>|=["']))[2-8]""")


def orientation_of(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if the tag is missing or invalid."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_to_keep(exif: Image.Exif, credit_tags: Mapping[int, str | bytes], policy: str, target: OutputFormat) -> bytes:
    """Return the EXIF block to write under `policy` (none, copyright, all); empty if there is nothing to keep.

    A block that is too long for the target is written without the camera maker's notes, or with the credits alone.
    """
    if policy == "none":
        return b""
    choices: list[Callable[[], Mapping[int, Any]]] = [lambda: credit_tags]
    if policy == "all":
        choices[:0] = [
            lambda: {**_all_tags(exif), **credit_tags},
            lambda: {**_all_tags(exif, MAKER_NOTE), **credit_tags},
        ]
    for tags in choices:
        with suppress(*READING_FAILURES):
            block = _block(tags())
            if len(block) <= target.max_metadata_bytes:
                return block
    return b""


def _all_tags(exif: Image.Exif, *without: int) -> dict[int, Any]:
    tags: dict[int, Any] = {tag: exif[tag] for tag in exif if tag not in LAYOUT_TAGS and tag not in POINTER_TAGS}
    for pointer in POINTER_TAGS:
        if pointer in exif:
            # The pointer to the camera's interoperability table would be invalid in the new block.
            excluded = {ExifTags.IFD.Interop, *without}
            tags[pointer] = {tag: value for tag, value in exif.get_ifd(pointer).items() if tag not in excluded}
    return tags


def _block(tags: Mapping[int, Any], order: str = "<") -> bytes:
    """Write `tags` in little (`<`) or big endian (`>`) order."""
    kept = Image.Exif()
    kept.endian = order
    for tag, value in tags.items():
        if isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII:
            # Pillow reads any encoding as Latin-1 and writes ? for all that is not ASCII: write the bytes as read.
            kept[tag] = value.encode("latin-1", "replace")
        else:
            kept[tag] = value
    return kept.tobytes() if kept else b""


def xmp_to_keep(
    info: Mapping[str | tuple[int, int], Any], digital_source: str | None, policy: str, target: OutputFormat
) -> bytes:
    """Return the XMP packet to write under `policy`; empty if there is nothing to keep.

    `all` keeps the whole packet, with an upright orientation, unless it is too long for the target. `copyright` keeps
    the digital source type alone, which Google requires of generated images.
    """
    packet = packet_of(info)
    if policy == "all" and len(packet) <= target.max_metadata_bytes:
        return ORIENTATION_IN_XMP.sub(rb"\g<1>1", packet)
    return packet_with(digital_source) if digital_source and policy == "copyright" else b""


def leaks_metadata(info: Mapping[str | tuple[int, int], object], exif: Image.Exif, policy: str) -> bool:
    """Return whether the metadata that Pillow read contains something that `policy` removes."""
    if policy == "all":
        return False
    if any(block in info for block in OTHER_BLOCKS):
        return True
    unreadable = "exif" in info and not exif
    allowed = (ARTIST, COPYRIGHT) if policy == "copyright" else ()
    return unreadable or any(tag not in allowed for tag in exif) or bool(exif.get_ifd(ExifTags.IFD.IFD1))


def bytes_to_keep(data: bytes, image_format: str, credit_tags: Mapping[int, str | bytes], policy: str) -> bytes | None:
    """Return the bytes of an original that may be kept under `policy`, None if it has to be encoded again.

    Under `none` and `copyright` they contain only what a rendition would: no comments, no colour profile, no software
    names, and no EXIF except the block of a rendition, in either byte order.
    """
    if policy == "all":
        return None if is_damaged(data, image_format) else data
    blocks = (
        [_block(credit_tags, order)[len(EXIF_PREFIX) :] for order in "<>"]
        if policy == "copyright" and credit_tags
        else []
    )
    return known_bytes(data, image_format, blocks)

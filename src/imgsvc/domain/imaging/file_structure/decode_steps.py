"""Count the steps that a decoder takes to open a still image, from its bytes."""

import re
import struct
from collections.abc import Iterator
from math import prod

FILL = re.compile(rb"\xff+")
START_OF_SCAN, END_OF_IMAGE, APP1 = 0xDA, 0xD9, 0xE1
EXIF_BYTES_PER_STEP = 2**16
"""Bytes of EXIF that Pillow copies in the time of one step; with each further segment, it copies all EXIF so far."""
RUN_LENGTHS = frozenset({1, 2})
"""The BMP compressions BI_RLE8 and BI_RLE4."""
TIFF_BYTES = frozenset({1, 2, 7})
"""Types whose values Pillow keeps as one object (TIFF 6.0, section 2)."""
TIFF_TABLES = frozenset({0x8769, 0x8825})
"""Tags that point to the EXIF and GPS tables."""
TIFF_POINTERS = {3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
"""Types of a pointer to a table, with their `struct` code."""
ICON_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(........)", re.DOTALL)
ICON_PIXELS_PER_STEP = 4
"""Pixels per step of a PNG in an icon. Pillow decodes it when the icon is opened, before its cost is known."""


def count_decode_steps(data: bytes) -> int:
    """Count the steps (numbers, segments, icon pixels) of Pillow before it can tell the cost of an image."""
    if data.startswith(b"BM"):
        return _bmp_steps(data)
    if data.startswith(b"\0\0\1\0"):
        return _icon_steps(data)
    if data.startswith((b"II", b"MM")):
        return _tiff_values(data)
    return _jpeg_segments(data) if data.startswith(b"\xff\xd8") else 0


def _jpeg_segments(data: bytes) -> int:
    """Count segments before the first scan, and fill bytes (ITU-T T.81, B.1.1.2): Pillow reads them one by one."""
    pieces, exif, at = 0, 0, 2
    while (fill := FILL.match(data, at)) and fill.end() + 3 <= len(data):
        code, size = struct.unpack_from(">BH", data, fill.end())
        pieces += fill.end() - at
        if code == APP1 and data.startswith(b"Exif\0\0", fill.end() + 3):
            exif += size
            pieces += exif // EXIF_BYTES_PER_STEP
        if code in {START_OF_SCAN, END_OF_IMAGE}:
            break
        at = fill.end() + 1 + size
    return pieces


def _tiff_values(data: bytes) -> int:
    """Count the numbers in the tags of the first page, and of the EXIF and GPS tables that it points to.

    Pillow makes an object of each, and several of each strip and tile.
    """
    order = "<" if data.startswith(b"II") else ">"
    try:
        [at] = struct.unpack_from(order + ("8xQ" if _is_big_tiff(data) else "4xL"), data)
    except struct.error:
        return 0
    tables = [at]
    values = 0
    for number, at in enumerate(tables):
        for tag, kind, count, field in _tiff_tags(data, at, order):
            values += count if kind not in TIFF_BYTES and count <= len(data) else 0
            if tag in TIFF_TABLES and kind in TIFF_POINTERS and not number:
                tables += struct.unpack_from(order + TIFF_POINTERS[kind], field)
    return values


def _is_big_tiff(data: bytes) -> bool:
    return data[2:3] == b"+"  # Pillow tests this byte in either byte order


def _tiff_tags(data: bytes, at: int, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, count, and the field with the value or its offset, for the tags inside the file."""
    head, entry = ("Q", "HHQ8s") if _is_big_tiff(data) else ("H", "HHL4s")
    start, size = at + struct.calcsize(order + head), struct.calcsize(order + entry)
    if start <= len(data):
        [count] = struct.unpack_from(order + head, data, at)
        count = min(count, (len(data) - start) // size)
        yield from struct.iter_unpack(order + entry, data[start : start + count * size])


def _icon_steps(data: bytes) -> int:
    """Count the possible chunks of the PNGs in an ICO, and their pixels: they may be more than the icon declares."""
    pixels: int = sum(prod(struct.unpack(">II", found[1])) for found in ICON_PNG.finditer(data))
    return len(data) // 3 + pixels // ICON_PIXELS_PER_STEP


def _bmp_steps(data: bytes) -> int:
    """Count the steps of a run-length BMP, which Pillow decodes in Python: one for 60 bytes or pixels."""
    if len(data) < 34 or data[30] not in RUN_LENGTHS:
        return 0
    width, height = struct.unpack_from("<2i", data, 18)
    pixels: int = abs(width * height)
    return (len(data) + pixels) // 60

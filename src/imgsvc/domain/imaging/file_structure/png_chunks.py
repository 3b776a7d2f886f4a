"""The chunks of a PNG (third edition, 5.3), of which nothing is checked."""

import struct
from collections.abc import Iterator
from typing import NamedTuple


class PngChunk(NamedTuple):
    """`start` and `end` of its body, which may be announced longer than the file is."""

    kind: bytes
    start: int
    end: int


def png_chunks(data: bytes) -> Iterator[PngChunk]:
    """Yield the chunks of `data` behind its signature, in order."""
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield PngChunk(kind, at + 8, at + 8 + size)
        at += 12 + size

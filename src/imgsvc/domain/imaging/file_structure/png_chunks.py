"""The chunks of a PNG (third edition, 5.3), unchecked."""

import struct
from collections.abc import Iterator
from typing import NamedTuple


class PngChunk(NamedTuple):
    """A chunk: `start` and `end` of its body, which may be declared longer than the file."""

    kind: bytes
    start: int
    end: int


def png_chunks(data: bytes) -> Iterator[PngChunk]:
    """Yield the chunks of `data` after its signature, in order."""
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield PngChunk(kind, at + 8, at + 8 + size)
        at += 12 + size

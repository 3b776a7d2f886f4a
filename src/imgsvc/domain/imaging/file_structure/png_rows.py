"""The rows of a PNG: their unpacked size, the palette entries and the spare bits that they use."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from imgsvc.domain.imaging.file_structure.reader import require

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE = 0, 2, 3
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, and the step in columns and rows, of each pass (PNG, 8.2)."""
PIECE = 2**20  # bytes unpacked at a time


@dataclass(frozen=True, slots=True)
class Header:
    """IHDR: `depth` in bits per channel, `colour` one of the five colour types."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: int

    @property
    def bits(self) -> int:
        """Bits per pixel."""
        return self.depth * CHANNELS[self.colour]


@dataclass(frozen=True, slots=True)
class Frame:
    """The compressed rows of the whole canvas, or of one frame of an animation."""

    width: int
    height: int
    data: bytes


def check_rows(frame: Frame, header: Header) -> None:
    """Unpack `frame` piece by piece; require its rows, its checksum, and nothing after them."""
    unpacker, unpacked, wanted = zlib.decompressobj(), 0, _unpacked_size(frame, header)
    rest = frame.data
    while rest and not unpacker.eof:
        unpacked += len(unpacker.decompress(rest, PIECE))
        require(unpacked <= wanted)
        rest = unpacker.unconsumed_tail
    while not unpacker.eof and (piece := unpacker.decompress(b"", PIECE)):
        unpacked += len(piece)
    require(unpacker.eof and not unpacker.unused_data and unpacked == wanted)


def _unpacked_size(frame: Frame, header: Header) -> int:
    """Return the size of the unpacked rows of `frame` in bytes, including their filter bytes."""
    total = 0
    for left, top, across, down in ADAM7 if header.interlaced else ((0, 0, 1, 1),):
        width, height = -(-(frame.width - left) // across), -(-(frame.height - top) // down)
        if width > 0 and height > 0:
            total += height * (1 + -(-width * header.bits // 8))
    return total


def check_values(frames: Sequence[Frame], header: Header, palette: bytes, alpha: bytes) -> None:
    """Require that every palette entry is in use and every spare bit at the end of a row is 0."""
    if header.colour != PALETTE and header.depth >= 8:
        return
    require(header.depth >= 8 or not header.interlaced)  # each of the seven passes has spare bits of its own
    used: set[int] = set()
    for frame in frames:
        used |= _used_values(frame, header)
    if header.colour == PALETTE:
        require(used == set(range(len(palette) // 3)) and len(alpha) <= len(palette) // 3)


def _used_values(frame: Frame, header: Header) -> set[int]:
    """Return the values in `frame`, decoded as grey in rows of whole bytes, which keeps indexes and spare bits."""
    width = -(-frame.width * header.depth // 8) * 8 // header.depth
    size = width.to_bytes(4, "big") + frame.height.to_bytes(4, "big")
    parts = ((b"IHDR", size + bytes((header.depth, GREY, 0, 0, header.interlaced))), (b"IDAT", frame.data))
    chunks = b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in (*parts, (b"IEND", b""))
    )
    with Image.open(BytesIO(SIGNATURE + chunks), formats=("PNG",)) as image:
        grey = image.convert("L")
    require(grey.crop((frame.width, 0, width, frame.height)).getbbox() is None)
    grey = grey.crop((0, 0, frame.width, frame.height))
    step = 255 // ((1 << header.depth) - 1)
    return {value // step for value, count in enumerate(grey.histogram()) if count}

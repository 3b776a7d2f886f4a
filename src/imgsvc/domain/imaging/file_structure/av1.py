"""The data of an AV1 still image: its units and tiles, and variants with shortened tiles."""

from collections.abc import Iterator

from imgsvc.domain.imaging.file_structure.av1_header import Bits, Tiles, read_frame, read_sequence
from imgsvc.domain.imaging.file_structure.reader import Reader, require

SEQUENCE, DELIMITER, FRAME = 1, 2, 6
PADDING = b"\x7a\0"
"""An empty unit that decoders skip."""
HAS_SIZE = 2
CUT_BYTES = 2
"""Bytes cut off a tile; dav1d always notices their loss in data from libaom."""
MAX_TILES = 8
"""Each tile costs one more decode of the image."""


def with_shorter_tiles(item: bytes, *, grey: bool) -> Iterator[bytes]:
    """Account for all units of an image; for each tile, yield an image of the same length without the tile's end.

    `grey`: the image must have no colours, because it is an alpha channel, whose colours are never shown.

    Raises:
        UnknownPart: the image has other units, or too many tiles.
    """
    reader = Reader(item)
    kind, body, _ = _unit(reader)
    if kind == DELIMITER:
        require(not body)
        kind, body, _ = _unit(reader)
    require(kind == SEQUENCE)
    sequence, start = read_sequence(Bits(body)), reader.at
    require(sequence.planes == 1 or not grey)
    kind, body, size_bytes = _unit(reader)
    require(kind == FRAME and reader.finished)
    tiles = read_frame(Bits(body), sequence)
    require(tiles.count <= MAX_TILES)
    head = item[: start + 1] + _leb128(len(body) - CUT_BYTES, size_bytes) + body[: tiles.start]
    data = _split(body, tiles)
    for at, tile in enumerate(data):
        yield head + _joined([*data[:at], tile[:-CUT_BYTES], *data[at + 1 :]], tiles) + PADDING


def _unit(reader: Reader) -> tuple[int, bytes, int]:
    """Return type and content of the next unit, and the number of bytes of its size field (5.3)."""
    header = reader.number(1)
    require(header & ~(15 << 3) == HAS_SIZE)
    size = size_bytes = 0
    more = 128
    while more:
        byte = reader.number(1)
        size |= (byte & 127) << 7 * size_bytes
        size_bytes += 1
        more = byte & 128
    return header >> 3, reader.take(size), size_bytes


def _leb128(number: int, size: int) -> bytes:
    """Write `number` in `size` bytes (4.10.5)."""
    return bytes(number >> 7 * at & 127 | (128 if at < size - 1 else 0) for at in range(size))


def _split(body: bytes, tiles: Tiles) -> list[bytes]:
    """Return the tiles (5.11.1): each but the last is preceded by its size less one; the last extends to the end."""
    reader = Reader(body, "little")
    reader.take(tiles.start)
    data = [reader.take(reader.number(tiles.size_bytes) + 1) for _ in range(tiles.count - 1)]
    return [*data, reader.take(len(body) - reader.at)]


def _joined(data: list[bytes], tiles: Tiles) -> bytes:
    require(all(data))
    sized = b"".join((len(tile) - 1).to_bytes(tiles.size_bytes, "little") + tile for tile in data[:-1])
    return sized + data[-1]

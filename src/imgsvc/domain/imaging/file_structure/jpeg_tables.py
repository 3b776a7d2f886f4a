"""Tables of a JPEG: those that known encoders write, and Huffman codes as look-up tables."""

from collections.abc import Iterator
from functools import cache, lru_cache
from io import BytesIO

from PIL import Image

from imgsvc.domain.imaging.file_structure.reader import require

INVALID = 255
END = 128
"""Values of an entry's step: no such code, end of block."""

# Row by row; mozjpeg uses one table (its number 3, by N. Robidoux) for luma and chroma.
MOZJPEG = (
    16, 16, 16, 18, 25, 37, 56, 85, 16, 17, 20, 27, 34, 40, 53, 75,
    16, 20, 24, 31, 43, 62, 91, 135, 18, 27, 31, 40, 53, 74, 106, 156,
    25, 34, 43, 53, 69, 94, 131, 189, 37, 40, 62, 74, 94, 124, 169, 238,
    56, 53, 91, 106, 131, 169, 226, 311, 85, 75, 135, 156, 189, 238, 311, 418,
)  # fmt: skip


class HuffmanTable:
    """A Huffman code: an entry for each possible 16 bits, and the entries seen.

    An entry is bits << 16 | symbol << 8 | step: `bits` is the length of the code and of the value after it; `step` is
    the number of coefficients that it fills in a sequential scan, or END or INVALID.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._symbols = len(set(body[17:]))
        self.entries = _entries(body)
        self.seen: set[int] = set()

    def without_content(self) -> list[int]:
        """Return only the entries of symbol 0; a block coded with it has no content."""
        return _entries(self._body, content=False)

    def is_known(self) -> bool:
        """Return whether the table is a standard one, or all its symbols have been seen."""
        return self._body in _standard_codes() or len(self.seen) == self._symbols == len(self._body) - 17


@lru_cache(maxsize=16)
def _entries(body: bytes, *, content: bool = True) -> list[int]:
    """Return the entries for a DHT body: class and number, 16 counts, symbols (ITU-T T.81, annex C)."""
    kind, counts, symbols = body[0] >> 4, body[1:17], iter(body[17:])
    entries: list[int] = []
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            symbol = next(symbols)
            entry = _entry(kind, length, symbol) if content or not symbol else INVALID
            entries += [entry] * (1 << 16 - length)
    require(len(entries) <= 1 << 16)
    return entries + [INVALID] * ((1 << 16) - len(entries))


def _entry(kind: int, length: int, symbol: int) -> int:
    run, size = symbol >> 4, symbol & 15
    if kind == 0:
        require(symbol <= 11)
        return length + size << 16 | symbol << 8
    require(size <= 10)  # the most that 8-bit samples need (ITU-T T.81, F.1.2.2.1)
    step = run + 1 if size or run == 15 else END
    return length + size << 16 | symbol << 8 | step


def is_known_quantisation(values: bytes) -> bool:
    """Return whether libjpeg or mozjpeg writes these 64 `values` for one of its qualities."""
    return values in _quantisations()


@cache
def _quantisations() -> frozenset[bytes]:
    return frozenset(values for quality in range(1, 101) for values in _of_quality(quality))


def _of_quality(quality: int) -> Iterator[bytes]:
    for kind, body in _tables(quality):
        if kind == 0xDB:
            yield body[1:]
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = [min(max((value * scale + 50) // 100, 1), 255) for value in MOZJPEG]
    yield bytes(scaled[index] for index in _zigzag())


@cache
def _standard_codes() -> frozenset[bytes]:
    """Return the Huffman tables of annex K, which Pillow writes."""
    return frozenset(body for kind, body in _tables(50) if kind == 0xC4)


def _tables(quality: int) -> Iterator[tuple[int, bytes]]:
    """Yield the DQT and DHT tables that Pillow writes, one by one."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality, subsampling="4:4:4")
    data, at = file.getvalue(), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield from ((data[at + 1], body) for body in tables_of(data[at + 1], data[at + 4 : end]))
        at = end


def tables_of(kind: int, body: bytes) -> Iterator[bytes]:
    """Split the body of a DQT or DHT segment into its tables."""
    while body and kind in {0xDB, 0xC4}:
        size = 65 if kind == 0xDB else 17 + sum(body[1:17])
        require(size <= len(body))
        yield body[:size]
        body = body[size:]


def _zigzag() -> list[int]:
    """Return the row-by-row index of each of the 64 coefficients in zigzag order (ITU-T T.81, figure A.6)."""
    return sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))

"""Account for the bytes of a JPEG: known segments, tables that are standard or in use, scans without extra bits."""

import re
from collections.abc import Callable, Mapping, Sequence

from imgsvc.domain.imaging.file_structure.jpeg_parts import Channel, Component, Scan
from imgsvc.domain.imaging.file_structure.jpeg_scans import check_coded_data
from imgsvc.domain.imaging.file_structure.jpeg_tables import HuffmanTable, is_known_quantisation, tables_of
from imgsvc.domain.imaging.file_structure.reader import Reader, require

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""End of coded data: neither a stuffed byte nor a restart marker (ITU-T T.81, B.1.1)."""
BASELINE, EXTENDED, PROGRESSIVE, RESTARTS = 0xC0, 0xC1, 0xC2, 0xDD
MAX_SHIFT = 4
"""Bits that a scan may leave to later scans; an 11-bit value then fits the 16 bits that decoders keep."""
MAX_CODED_BYTES = 2**20
"""Longest original that is checked; longer ones are re-encoded."""
MAX_BLOCKS = 2**22
"""Blocks in all scans together. One end-of-band code covers 32,767 blocks: a small file may have very many scans."""


def check_jpeg(data: bytes, exif: Sequence[bytes]) -> None:
    """Account for every byte of `data`; `exif` are the blocks that an Exif segment may contain.

    Raises:
        UnknownPart, LookupError: `data` contains something that the image does not need.
    """
    require(len(data) <= MAX_CODED_BYTES)
    reader = Reader(data)
    reader.expect(b"\xff\xd8")
    file = _Jpeg(reader, exif)
    while True:
        reader.expect(b"\xff")
        code = reader.number(1)
        if code == 0xD9:
            break
        file.read_segment(code, reader.take(reader.number(2) - 2))
    require(reader.finished)
    file.finish()


class _Jpeg:
    """State of a JPEG after the segments read so far."""

    def __init__(self, reader: Reader, exif: Sequence[bytes]) -> None:
        self._reader = reader
        self._exif = exif
        self._once: set[int] = set()
        self._quantisations: set[int] = set()
        self._used: set[int] = set()
        self._codes: dict[int, HuffmanTable] = {}
        self._components: dict[int, Component] = {}
        self._mcus = (0, 0)
        self._progressive = False
        self._interval = 0
        self._blocks = 0

    def read_segment(self, code: int, body: bytes) -> None:
        if code in {0xE0, 0xE1, 0xEE, RESTARTS, BASELINE, EXTENDED, PROGRESSIVE}:
            once = code if code > PROGRESSIVE else BASELINE
            require(once not in self._once)
            self._once.add(once)
        _SEGMENTS[code](self, body)

    def finish(self) -> None:
        """Check the Huffman tables still in place, and that every quantisation table is in use."""
        require(all(table.is_known() for table in self._codes.values()) and self._quantisations == self._used)

    def jfif(self, body: bytes) -> None:
        """Account for a JFIF segment with square pixels and no thumbnail."""
        require(len(body) == 14 and body[:6] == b"JFIF\0\1" and body[7] <= 2)
        require(body[8:10] == body[10:12] and body[12:] == b"\0\0")

    def exif_block(self, body: bytes) -> None:
        require(body[:6] == b"Exif\0\0" and body[6:] in self._exif)

    def adobe(self, body: bytes) -> None:
        require(len(body) == 12 and body[:6] == b"Adobe\0" and body[6] in {100, 101} and body[11] <= 2)
        require(not body[7] & 0x3F and body[8:11] == bytes(3))  # Photoshop's own flags

    def quantisation(self, body: bytes) -> None:
        for table in tables_of(0xDB, body):
            require(table[0] < 4 and table[0] not in self._quantisations and is_known_quantisation(table[1:]))
            self._quantisations.add(table[0])

    def huffman(self, body: bytes) -> None:
        for table in tables_of(0xC4, body):
            require(len(table) > 17 and (table[0] in range(4) or table[0] in range(16, 20)))
            require(table[0] not in self._codes or self._codes[table[0]].is_known())
            self._codes[table[0]] = HuffmanTable(table)

    def restarts(self, body: bytes) -> None:
        require(len(body) == 2)
        self._interval = int.from_bytes(body, "big")

    def frame(self, body: bytes) -> None:
        """Read size and components (B.2.2); a height that follows later, in DNL, is not accepted."""
        reader = Reader(body)
        require(reader.number(1) == 8)
        height, width, count = reader.number(2), reader.number(2), reader.number(1)
        channels = [(reader.number(1), reader.number(1), reader.number(1)) for _ in range(count)]
        require(reader.finished and width > 0 and height > 0 and len({name for name, _, _ in channels}) == count > 0)
        require(all(0 < factors >> 4 <= 4 and 0 < factors & 15 <= 4 and table < 4 for _, factors, table in channels))
        max_factors = max(factors >> 4 for _, factors, _ in channels), max(factors & 15 for _, factors, _ in channels)
        self._used = {table for _, _, table in channels}
        self._mcus = _parts(width, 8 * max_factors[0]), _parts(height, 8 * max_factors[1])
        for name, factors, _ in channels:
            horizontal, vertical = factors >> 4, factors & 15
            blocks = (
                _parts(_parts(width * horizontal, max_factors[0]), 8),
                _parts(_parts(height * vertical, max_factors[1]), 8),
            )
            self._components[name] = Component(horizontal, vertical, *blocks)

    def progressive_frame(self, body: bytes) -> None:
        self.frame(body)
        self._progressive = True
        for component in self._components.values():
            component.nonzero = [0] * (component.across * component.down)

    def scan(self, body: bytes) -> None:
        """Account for the header of a scan (B.2.3) and the coded data up to the next marker."""
        self._once.discard(RESTARTS)  # each scan may have intervals of its own
        reader = Reader(body)
        names = [(reader.number(1), reader.number(1)) for _ in range(reader.number(1))]
        first, last, bits = reader.number(1), reader.number(1), reader.number(1)
        require(reader.finished and 0 < len(names) == len({name for name, _ in names}))
        channels = tuple(
            Channel(self._components[name], self._code(tables >> 4), self._code(16 | tables & 15))
            for name, tables in names
        )
        self._check_progression([channel.component for channel in channels], first, last, bits)
        alone = channels[0].component if len(channels) == 1 else None
        across, down = (alone.across, alone.down) if alone else self._mcus
        self._blocks += across * down
        require(self._blocks <= MAX_BLOCKS)
        scan = Scan(channels, across, down, self._progressive, first, last, refines=bits > 15)
        found = MARKER.search(self._reader.data, self._reader.at)
        require(found is not None)
        end = found.start() if found else 0
        check_coded_data(self._reader.take(end - self._reader.at), scan, self._interval)

    def _code(self, number: int) -> HuffmanTable:
        return self._codes.get(number) or HuffmanTable(bytes(17))

    def _check_progression(self, components: Sequence[Component], first: int, last: int, bits: int) -> None:
        """Require each bit of each coefficient exactly once (G.1.1): a second one would hide the first."""
        high, low = bits >> 4, bits & 15
        require(low <= MAX_SHIFT)
        if self._progressive:
            require(first == last == 0 if not first else first <= last < 64 and len(components) == 1)
            require(not high or high == low + 1)
        else:
            require((first, last, bits) == (0, 63, 0))
        for component in components:
            for place in range(first, last + 1):
                require(component.lowest[place] == (high or None))
                component.lowest[place] = low


def _parts(length: int, size: int) -> int:
    """Return the number of parts of `size` that cover `length`."""
    return -(-length // size)


_SEGMENTS: Mapping[int, Callable[[_Jpeg, bytes], None]] = {
    0xE0: _Jpeg.jfif,
    0xE1: _Jpeg.exif_block,
    0xEE: _Jpeg.adobe,
    0xDB: _Jpeg.quantisation,
    0xC4: _Jpeg.huffman,
    RESTARTS: _Jpeg.restarts,
    BASELINE: _Jpeg.frame,
    EXTENDED: _Jpeg.frame,
    PROGRESSIVE: _Jpeg.progressive_frame,
    0xDA: _Jpeg.scan,
}

"""Account for the bytes of a GIF: known blocks, codes that end with the last pixel, colours in use."""

from imgsvc.domain.imaging.file_structure.reader import Reader, require

PADDING_COLOURS = frozenset({b"\0\0\0", b"\xff\xff\xff"})
"""Entries that pad a colour table to a power of two."""
MAX_CODES = 4096
LOOPS = frozenset({b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0"})


class _Colours:
    """A colour table, and the entries that images use."""

    def __init__(self, reader: Reader, flags: int) -> None:
        self._at = reader.at
        self._entries = [reader.take(3) for _ in range(2 << (flags & 7) if flags & 0x80 else 0)]
        self.used: set[int] = set()

    def blank(self, file: bytearray) -> None:
        """Blacken the entries in `file` whose colour no image uses."""
        known = PADDING_COLOURS | {self._entries[index] for index in self.used if index < len(self._entries)}
        for index, colour in enumerate(self._entries):
            if colour not in known:
                file[self._at + 3 * index : self._at + 3 * index + 3] = bytes(3)


def known_gif(data: bytes) -> bytes:
    """Account for every byte of `data`; return it with unused colours set to black.

    Unused colours are common: optimisers share one table between frames that each need only part of it.

    Raises:
        UnknownPart, LookupError: `data` contains something that the image does not need.
    """
    reader = Reader(data, "little")
    require(reader.take(6) in {b"GIF87a", b"GIF89a"})
    size = reader.number(2), reader.number(2)
    flags = reader.take(3)[0]
    tables = [_Colours(reader, flags)]
    images = loops = 0
    while (kind := reader.take(1)) != b"\x3b":
        if kind == b"\x21" and (label := reader.take(1)) == b"\xff":
            loops += 1
            _check_loop(reader)
            continue
        if kind == b"\x21":
            require(label == b"\xf9")
            _check_control(reader)
            require(reader.take(1) == b"\x2c")  # the image that it describes
        else:
            require(kind == b"\x2c")
        _check_image(reader, size, tables)
        images += 1
    require(reader.finished and images > 0 and loops <= 1)
    file = bytearray(data)
    for table in tables:
        table.blank(file)
    return bytes(file)


def _check_loop(reader: Reader) -> None:
    require(reader.take(12) in LOOPS)
    reader.expect(b"\3\1")
    reader.take(2)
    reader.expect(b"\0")


def _check_control(reader: Reader) -> None:
    reader.expect(b"\4")
    require(reader.take(1)[0] < 0x20)
    reader.take(3)
    reader.expect(b"\0")


def _check_image(reader: Reader, canvas: tuple[int, int], tables: list[_Colours]) -> None:
    """Account for one image; `tables` are the shared colour table, then those of the images in order."""
    left, top, width, height, flags = (reader.number(size) for size in (2, 2, 2, 2, 1))
    require(left + width <= canvas[0] and top + height <= canvas[1] and not flags & 0x18)
    own = flags & 0x80
    if own:
        tables.append(_Colours(reader, flags))
    tables[-1 if own else 0].used |= _check_codes(reader, width * height)


def _check_codes(reader: Reader, pixels: int) -> set[int]:
    """Account for the codes of `pixels` pixels, including the spare bits of the last byte; return the values in use."""
    start = reader.number(1)
    require(2 <= start <= 8)
    data = b""
    while size := reader.number(1):
        data += reader.take(size)
    return _Codes(start).walk(data, pixels)


class _Codes:
    """LZW codes (GIF89a, appendix F). Only the lengths of their strings are kept.

    That is enough to find the values in use: every value in a string first occurs as a code of its own.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._clear = 1 << start
        self._lengths: list[int] = []

    def walk(self, data: bytes, pixels: int) -> set[int]:
        clear, stop, used = self._clear, self._clear + 1, set[int]()
        lengths, size = [1] * (clear + 2), self._start + 1
        buffer = bits = count = previous = 0
        for at, byte in enumerate(data, 1):
            buffer |= byte << bits
            bits += 8
            while bits >= size:
                code = buffer & (1 << size) - 1
                buffer >>= size
                bits -= size
                if code == clear:
                    lengths, size, previous = lengths[: clear + 2], self._start + 1, 0
                    continue
                if code == stop:
                    require(count == pixels and at == len(data) and not buffer)
                    return used
                if previous and len(lengths) < MAX_CODES:
                    lengths.append(previous + 1)  # may be the current code itself
                    if len(lengths) == 1 << size and size < 12:
                        size += 1
                previous = lengths[code]
                count += previous
                if code < clear:
                    used.add(code)
        require(count == pixels and bits < min(size, 8))  # many one-pixel images lack the end code
        return used

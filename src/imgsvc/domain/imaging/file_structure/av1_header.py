"""The headers of an AV1 still image, up to where its tiles begin (AV1 Bitstream & Decoding Process, 5.5 and 5.9)."""

from dataclasses import dataclass

from imgsvc.domain.imaging.file_structure.reader import require


class Bits:
    """Reader of numbers of any size in bits, highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)
        self._size = len(data)

    def number(self, size: int) -> int:
        self._left -= size
        require(self._left >= 0)
        return self._value >> self._left & (1 << size) - 1

    def optional(self, size: int) -> int:
        """Read a number that is present only if the bit before it is 1; otherwise return 0."""
        return self.number(size) if self.number(1) else 0

    def finish(self) -> None:
        """Read the padding of a header: a 1, then zeros (5.3.4)."""
        left = self._left
        require(1 <= left <= 8 and self.number(left) == 1 << left - 1)

    def align(self) -> int:
        """Read zeros up to the next whole byte; return its offset."""
        require(self.number(self._left % 8) == 0)
        return self._size - self._left // 8


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """Size and tools of a still image; `planes` is 1 for grey; if `halved`, colours have half the resolution."""

    width: int
    height: int
    large_blocks: int
    has_cdef: int
    has_restoration: int
    planes: int
    halved: bool
    separate_delta: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of a frame: their start, their number, and the bytes of the size field before each but the last."""

    start: int
    count: int
    size_bytes: int


def read_sequence(bits: Bits) -> SequenceHeader:
    """Read a sequence header in the short form of still images; nothing may follow it."""
    profile = bits.number(3)
    require(bits.number(2) == 3)
    bits.number(5)
    sizes = bits.number(4) + 1, bits.number(4) + 1
    width, height = (bits.number(size) + 1 for size in sizes)
    large_blocks, _, has_scaling, has_cdef, has_restoration = (bits.number(size) for size in (1, 2, 1, 1, 1))
    deep = bits.number(1)
    twelve_bits = bits.number(1) if profile == 2 and deep else 0
    grey = bits.number(1) if profile != 1 else 0
    colour_description = bits.number(24) if bits.number(1) else 0
    halved, separate_delta = True, 0
    if grey:
        bits.number(1)
    else:
        is_srgb = colour_description == 0x010D00
        halved = not is_srgb and _is_halved(bits, profile, twelve_bits)
        separate_delta = bits.number(1)
    require(not has_scaling and not bits.number(1))  # no film grain
    bits.finish()
    return SequenceHeader(
        width, height, large_blocks, has_cdef, has_restoration, 1 if grey else 3, halved, separate_delta
    )


def _is_halved(bits: Bits, profile: int, twelve_bits: int) -> bool:
    bits.number(1)
    halved = bool(bits.number(1) and bits.number(1)) if profile == 2 and twelve_bits else profile == 0
    bits.number(2 if halved else 0)
    return halved


def read_frame(bits: Bits, sequence: SequenceHeader) -> Tiles:
    """Read the header of the only frame; segmentation is not accepted."""
    bits.number(1)
    for_screens = bits.number(1)
    bits.number(1 if for_screens else 0)
    require(not bits.number(1))  # a separate render size
    copies = bits.number(1) if for_screens else 0
    count, size_bytes = _read_tiling(bits, sequence)
    lossless = _read_quantisation(bits, sequence, copies)
    if not (lossless or copies):
        _read_filters(bits, sequence)
    bits.number(0 if lossless else 1)
    bits.number(1)
    start = bits.align()
    if count > 1:
        require(not bits.number(1))
        start = bits.align()
    return Tiles(start, count, size_bytes)


def _read_tiling(bits: Bits, sequence: SequenceHeader) -> tuple[int, int]:
    """Read the tiling (5.9.15) of an image that may consist of one tile."""
    block = 128 if sequence.large_blocks else 64
    sides = -(-sequence.width // block), -(-sequence.height // block)
    require(sides[0] * block <= 4096 and sides[0] * sides[1] * block * block <= 4096 * 2304)
    require(bits.number(1) == 1)  # tiles of one size
    count, splits = 1, 0
    for side in sides:
        split = 0
        while 1 << split < min(side, 64) and bits.number(1):
            split += 1
        count *= -(-side // -(-side // (1 << split)))
        splits += split
    bits.number(splits)
    return count, bits.number(2) + 1 if splits else 0


def _read_quantisation(bits: Bits, sequence: SequenceHeader, copies: int) -> bool:
    """Read quantisation (5.9.12 to 5.9.18); return whether the image is lossless."""
    base = bits.number(8)
    deltas = [bits.optional(7)]
    if sequence.planes > 1:
        differ = bits.number(1) if sequence.separate_delta else 0
        deltas += [bits.optional(7) for _ in range(4 if differ else 2)]
    if bits.number(1):
        bits.number(4 + 4 + 4 * sequence.separate_delta)
    require(not bits.number(1))
    if base and bits.number(1):
        bits.number(2)
        if not copies:
            bits.optional(2 + 1)
    return not base and not any(deltas)


def _read_filters(bits: Bits, sequence: SequenceHeader) -> None:
    """Read the loop filter, CDEF and restoration (5.9.11, 5.9.19 and 5.9.20)."""
    colour = sequence.planes > 1
    if (bits.number(6) | bits.number(6)) and colour:
        bits.number(12)
    bits.number(3)
    if bits.number(1) and bits.number(1):
        for _ in range(8 + 2):
            bits.optional(7)
    if sequence.has_cdef:
        bits.number(2)
        for _ in range(1 << bits.number(2)):
            bits.number(12 if colour else 6)
    if sequence.has_restoration:
        kinds = [bits.number(2) for _ in range(sequence.planes)]
        if any(kinds) and bits.number(1) and not sequence.large_blocks:
            bits.number(1)
        if any(kinds[1:]) and sequence.halved:
            bits.number(1)

"""The arithmetic-coded header of a VP8 frame, up to the number of its data partitions."""

TAG = 10
"""Bytes of a key frame before its first partition (RFC 6386, 9.1)."""


class _Bits:
    """Reader of bits that are equally likely 0 and 1 (RFC 6386, 7.3)."""

    def __init__(self, data: bytes) -> None:
        self._following = iter(data[2:])
        self._value = int.from_bytes(data[:2], "big")
        self._range = 255
        self._shifted = 0

    def number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | self._bit()
        return value

    def skip(self, count: int, bits: int) -> None:
        """Skip `count` numbers of `bits`; each is present only if the flag before it is 1."""
        for _ in range(count):
            if self.number(1):
                self.number(bits)

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        bit = self._value >= split << 8
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted % 8 == 0:
                self._value |= next(self._following, 0)
        return int(bit)


def data_partitions(frame: bytes) -> int:
    """Return the number of coefficient partitions of a VP8 key frame (RFC 6386, 9.2 to 9.5 and 19.2)."""
    bits = _Bits(frame[TAG:])
    bits.number(2)  # colour space, clamping
    if bits.number(1):  # segments
        has_map, has_features = bits.number(1), bits.number(1)
        if has_features:
            bits.number(1)
            bits.skip(4, 7 + 1)
            bits.skip(4, 6 + 1)
        if has_map:
            bits.skip(3, 8)
    bits.number(1 + 6 + 3)  # loop filter
    if bits.number(1) and bits.number(1):  # adjustments
        bits.skip(8, 6 + 1)
    return 1 << bits.number(2)

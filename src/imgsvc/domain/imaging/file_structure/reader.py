"""A cursor over bytes that raises on anything unexpected."""

from typing import Literal


class UnknownPart(ValueError):
    """A part of a file whose content cannot be accounted for."""


def require(condition: bool) -> None:
    """Raise UnknownPart unless `condition` holds."""
    if not condition:
        raise UnknownPart


class Reader:
    """A cursor over `data`.

    Raises:
        UnknownPart: from every method, when `data` ends too early or contains something else.
    """

    def __init__(self, data: bytes, order: Literal["big", "little"] = "big") -> None:
        self.data = data
        self.at = 0
        self._order: Literal["big", "little"] = order

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        self.at += size
        require(self.at <= len(self.data))
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Read an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), self._order)

    def expect(self, content: bytes) -> None:
        """Read exactly `content`."""
        require(self.take(len(content)) == content)

    @property
    def finished(self) -> bool:
        """True after the last byte."""
        return self.at == len(self.data)

"""Mutations of bytes: cut, flip, overwrite, splice, repeat, exchange, insert."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, Protocol

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 256
"""Bytes; half of all changes are made there, because headers contain sizes and counts."""
MAX_LENGTH = 4_000_000
"""Bytes; longer results are cut."""


class Case(NamedTuple):
    """One input, and further arguments for the surface."""

    data: bytes
    plan: Any = None


class Surface(Protocol):
    """A function under test. `make` depends on `rng` alone."""

    def make(self, rng: Random) -> Case: ...

    def attempt(self, case: Case) -> str:
        """Return the code of a declared error, or a text that begins with `accepted`; raise any other error."""


@dataclass(frozen=True, slots=True)
class Mutator:
    """Random changes of bytes; splices are taken from `donors`."""

    rng: Random
    donors: Sequence[bytes]
    pieces: Sequence[bytes]
    """Bytes that may be inserted."""

    def mutated(self, data: bytes) -> bytes:
        for _ in range(self.rng.choice((1, 1, 1, 2, 3, 6))):
            data = self.rng.choice(MUTATIONS)(self, data)[:MAX_LENGTH]
        return data

    def position(self, data: bytes) -> int:
        end = len(data) if self.rng.random() < 0.5 else min(len(data), HEAD)
        return self.rng.randint(0, end)

    def segment(self, data: bytes) -> tuple[int, int]:
        start = self.position(data)
        return start, min(len(data), start + int(2 ** self.rng.uniform(0, 12)))

    def truncated(self, data: bytes) -> bytes:
        return data[: self.rng.randint(0, len(data))]

    def flipped(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 4, 16))):
            at = self.position(data)
            if at < len(changed):
                changed[at] ^= 1 << self.rng.randrange(8)
        return bytes(changed)

    def overwritten(self, data: bytes) -> bytes:
        """Overwrite a few bytes with a number, which may be a length or a size."""
        at, width = self.position(data), self.rng.choice((1, 2, 4))
        number = self.rng.choice((*NUMBERS, self.rng.getrandbits(32), self.rng.randrange(5000)))
        big = (number % 256**width).to_bytes(width, "big")
        written: bytes = self.rng.choice((big, big[::-1]))
        return data[:at] + written + data[at + width :]

    def spliced(self, data: bytes) -> bytes:
        donor = self.rng.choice(self.donors)
        if self.rng.random() < 0.5:
            return data[: self.position(data)] + donor[self.position(donor) :]
        start, end = self.segment(donor)
        at = self.position(data)
        return data[:at] + donor[start:end] + data[at + (end - start if self.rng.random() < 0.5 else 0) :]

    def repeated(self, data: bytes) -> bytes:
        start, end = self.segment(data)
        return data[:end] + data[start:end] * self.rng.choice((1, 1, 2, 10, 100)) + data[end:]

    def dropped(self, data: bytes) -> bytes:
        start, end = self.segment(data)
        return data[:start] + data[end:]

    def exchanged(self, data: bytes) -> bytes:
        (a, b), (c, d) = sorted((self.segment(data), self.segment(data)))
        c, d = max(b, c), max(b, d)
        return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]

    def inserted(self, data: bytes) -> bytes:
        at = self.position(data)
        return data[:at] + self.rng.choice(self.pieces) + data[at:]


MUTATIONS: tuple[Callable[[Mutator, bytes], bytes], ...] = (
    Mutator.truncated,
    Mutator.flipped,
    Mutator.overwritten,
    Mutator.spliced,
    Mutator.repeated,
    Mutator.dropped,
    Mutator.exchanged,
    Mutator.inserted,
)

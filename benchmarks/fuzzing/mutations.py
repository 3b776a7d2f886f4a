"""What a fuzzer does to bytes: cut, flip, overwrite, splice, repeat, exchange, insert."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, Protocol

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 256
"""Bytes; half of all changes are made there, where sizes and counts stand."""
LONGEST = 4_000_000
"""Bytes of what repetitions may make."""


class Case(NamedTuple):
    """One input, and what is asked of the surface besides."""

    data: bytes
    plan: Any = None


class Surface(Protocol):
    """What strangers' input meets. The same `rng` makes the same case, whatever was made before."""

    def make(self, rng: Random) -> Case: ...

    def attempt(self, case: Case) -> str:
        """Give the code of the declared error, or what begins with `accepted`; raise whatever is not declared."""


@dataclass(frozen=True, slots=True)
class Mutator:
    """Changes bytes at random; splices come from `donors`."""

    rng: Random
    donors: Sequence[bytes]
    pieces: Sequence[bytes]
    """What may be inserted."""

    def mutated(self, data: bytes) -> bytes:
        for _ in range(self.rng.choice((1, 1, 1, 2, 3, 6))):
            data = self.rng.choice(WAYS)(self, data)[:LONGEST]
        return data

    def place(self, data: bytes) -> int:
        end = len(data) if self.rng.random() < 0.5 else min(len(data), HEAD)
        return self.rng.randint(0, end)

    def segment(self, data: bytes) -> tuple[int, int]:
        start = self.place(data)
        return start, min(len(data), start + int(2 ** self.rng.uniform(0, 12)))

    def truncated(self, data: bytes) -> bytes:
        return data[: self.rng.randint(0, len(data))]

    def flipped(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 2, 4, 16))):
            at = self.place(data)
            if at < len(changed):
                changed[at] ^= 1 << self.rng.randrange(8)
        return bytes(changed)

    def overwritten(self, data: bytes) -> bytes:
        """A length or a size becomes another one."""
        at, width = self.place(data), self.rng.choice((1, 2, 4))
        number = self.rng.choice((*NUMBERS, self.rng.getrandbits(32), self.rng.randrange(5000)))
        big = (number % 256**width).to_bytes(width, "big")
        written: bytes = self.rng.choice((big, big[::-1]))
        return data[:at] + written + data[at + width :]

    def spliced(self, data: bytes) -> bytes:
        donor = self.rng.choice(self.donors)
        if self.rng.random() < 0.5:
            return data[: self.place(data)] + donor[self.place(donor) :]
        start, end = self.segment(donor)
        at = self.place(data)
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
        at = self.place(data)
        return data[:at] + self.rng.choice(self.pieces) + data[at:]


WAYS: tuple[Callable[[Mutator, bytes], bytes], ...] = (
    Mutator.truncated,
    Mutator.flipped,
    Mutator.overwritten,
    Mutator.spliced,
    Mutator.repeated,
    Mutator.dropped,
    Mutator.exchanged,
    Mutator.inserted,
)

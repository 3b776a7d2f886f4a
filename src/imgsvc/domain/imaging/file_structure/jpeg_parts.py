"""What a JPEG consists of: components, and scans that send them."""

from dataclasses import dataclass, field

from imgsvc.domain.imaging.file_structure.jpeg_tables import HuffmanTable


@dataclass(slots=True)
class Component:
    """A channel of the image: `across` and `down` in blocks of 8 × 8.

    `lowest` is the lowest bit sent of each coefficient. Progressive ones have `nonzero`: of each block a bit for each
    coefficient that is not 0.
    """

    horizontal: int
    vertical: int
    across: int
    down: int
    lowest: list[int | None] = field(default_factory=lambda: [None] * 64)
    nonzero: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Channel:
    """A component in a scan, with its codes there; those that it does not need are empty."""

    component: Component
    dc: HuffmanTable
    ac: HuffmanTable


@dataclass(frozen=True, slots=True)
class Scan:
    """`across` and `down` in MCUs, `first` and `last` coefficient; `refines` bits of what earlier scans have sent."""

    channels: tuple[Channel, ...]
    across: int
    down: int
    progressive: bool
    first: int
    last: int
    refines: bool

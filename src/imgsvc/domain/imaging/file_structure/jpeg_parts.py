"""Components of a JPEG, and the scans that encode them."""

from dataclasses import dataclass, field

from imgsvc.domain.imaging.file_structure.jpeg_tables import HuffmanTable


@dataclass(slots=True)
class Component:
    """A colour component: its sampling factors `horizontal` and `vertical`; `across` and `down` in blocks of 8 × 8.

    `lowest` is the lowest bit of each coefficient read so far. Progressive images have `nonzero`: for each block one
    bit per coefficient that is not 0.
    """

    horizontal: int
    vertical: int
    across: int
    down: int
    lowest: list[int | None] = field(default_factory=lambda: [None] * 64)
    nonzero: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Channel:
    """A component in a scan, with its Huffman tables; tables that the scan does not need are empty."""

    component: Component
    dc: HuffmanTable
    ac: HuffmanTable


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan: `across` and `down` in MCUs, `first` and `last` coefficient; it may refine bits of earlier scans."""

    channels: tuple[Channel, ...]
    across: int
    down: int
    progressive: bool
    first: int
    last: int
    refines: bool

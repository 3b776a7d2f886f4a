"""Walk over the Huffman codes of a JPEG's scans to count their bits (ITU-T T.81, annexes F and G).

Coefficients are not decoded. A walk takes 24 bits for each byte of coded data, and the numbers of its MCUs; it returns
the number of bits.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from imgsvc.domain.imaging.file_structure.jpeg_parts import Channel, Scan
from imgsvc.domain.imaging.file_structure.jpeg_tables import END, INVALID
from imgsvc.domain.imaging.file_structure.reader import UnknownPart, require

T = TypeVar("T")
Walk = Callable[[Sequence[int], range], int]
Plan = list[tuple[list[int], list[int], Callable[[int], None], Callable[[int], None]]]
"""For each block of an MCU: the entries of its DC and AC codes, and the functions that record the entries seen."""


def walk_of(scan: Scan) -> Walk:
    """Return the walk for the kind of `scan`."""
    if not scan.progressive:
        return _sequential(scan)
    if not scan.first:
        return _refining_dc(scan) if scan.refines else _first_dc(scan)
    return _refining_ac(scan) if scan.refines else _first_ac(scan)


def _plans(scan: Scan) -> list[Plan]:
    """Return the plans of an MCU inside the image, at its right edge, at its bottom edge, and in the corner."""
    return [_plan(scan, bool(edge & 1), bool(edge & 2)) for edge in range(4)]


def _in_order(scan: Scan, mcus: range, at_edges: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the entry of each block of `mcus`; `at_edges` has the entries of an MCU for each edge, as in `_plans`."""
    right, bottom = scan.across - 1, scan.down - 1
    for mcu in mcus:
        y, x = divmod(mcu, scan.across)
        yield from at_edges[(x == right) + 2 * (y == bottom)]


def _plan(scan: Scan, right: bool, bottom: bool) -> Plan:
    """Return the plan of an MCU; blocks that only pad it beyond the edge of the image must have no content."""
    plan: Plan = []
    for channel, is_inside in _blocks(scan, right, bottom):
        dc, ac = (table.entries if is_inside else table.without_content() for table in (channel.dc, channel.ac))
        plan.append((dc, ac, channel.dc.seen.add, channel.ac.seen.add))
    return plan


def _blocks(scan: Scan, right: bool, bottom: bool) -> Iterator[tuple[Channel, bool]]:
    """Yield the blocks of an MCU, and whether each is inside the image; the first of a channel always is."""
    for channel in scan.channels:
        component, alone = channel.component, len(scan.channels) == 1
        across, down = (1, 1) if alone else (component.horizontal, component.vertical)
        columns = component.across - (scan.across - 1) * across if right else across
        rows = component.down - (scan.down - 1) * down if bottom else down
        for y in range(down):
            for x in range(across):
                yield channel, x < columns and y < rows


def _sequential(scan: Scan) -> Walk:
    plans = _plans(scan)

    def walk(words: Sequence[int], mcus: range) -> int:
        at = 0
        for dc, ac, note_dc, note_ac in _in_order(scan, mcus, plans):
            entry = dc[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
            note_dc(entry)
            at += entry >> 16
            filled = 1 + (entry & 0xFF)  # INVALID makes this exceed 64
            while filled < 64:
                entry = ac[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
                note_ac(entry)
                at += entry >> 16
                filled += entry & 0xFF
            if filled != 64 and not END < filled < END + 64:
                raise UnknownPart
        return at

    return walk


def _first_dc(scan: Scan) -> Walk:
    plans = _plans(scan)

    def walk(words: Sequence[int], mcus: range) -> int:
        at = 0
        for dc, _, note, _ in _in_order(scan, mcus, plans):
            entry = dc[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
            note(entry)
            at += entry >> 16
            if entry & 0xFF:
                raise UnknownPart
        return at

    return walk


def _refining_dc(scan: Scan) -> Walk:
    """Return a walk with one bit for each block; beyond the edge it must repeat the bit of the block before."""
    edges = [[is_inside for _, is_inside in _blocks(scan, bool(edge & 1), bool(edge & 2))] for edge in range(4)]

    def walk(words: Sequence[int], mcus: range) -> int:
        at = before = 0
        for is_inside in _in_order(scan, mcus, edges):
            bit = words[at >> 3] >> 23 - (at & 7) & 1
            require(is_inside or bit == before)
            before = bit
            at += 1
        return at

    return walk


def _first_ac(scan: Scan) -> Walk:
    ac, note = scan.channels[0].ac.entries, scan.channels[0].ac.seen.add
    nonzero, first, last = scan.channels[0].component.nonzero, scan.first, scan.last

    def walk(words: Sequence[int], mcus: range) -> int:
        at = 0
        block, stop = mcus.start, mcus.stop
        while block < stop:
            place, found, run = first, 0, 1
            while place <= last:
                entry = ac[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
                note(entry)
                at += entry >> 16
                if entry & 0xFF == END:
                    run, at = _run_of_ends(words, at, entry)
                    break
                place += entry & 0xFF
                found |= 1 << place - 1 if entry & 0xF00 else 0
            else:
                require(place == last + 1)
            nonzero[block] |= found
            block += run
        require(block == stop)
        return at

    return walk


def _run_of_ends(words: Sequence[int], at: int, entry: int) -> tuple[int, int]:
    """Return how many blocks end here, including this one, and the bit position after the code (G.1.2.2)."""
    size = entry >> 12 & 15
    return (1 << size) + ((words[at >> 3] >> 8 - (at & 7) & 0xFFFF) >> 16 - size if size else 0), at + size


def _refining_ac(scan: Scan) -> Walk:
    ac, note = scan.channels[0].ac.entries, scan.channels[0].ac.seen.add
    nonzero, first, last = scan.channels[0].component.nonzero, scan.first, scan.last
    band = (1 << last + 1) - 1

    def walk(words: Sequence[int], mcus: range) -> int:
        at = run = 0
        for block in mcus:
            earlier, found, place = nonzero[block], 0, first
            while not run and place <= last:
                entry = ac[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
                note(entry)
                at += entry >> 16
                if entry & 0xFF == END:
                    run, at = _run_of_ends(words, at, entry)
                    break
                place, corrected = _after_zeros(earlier, place, (entry & 0xFF) - 1)
                require(place <= last and entry & 0xFF != INVALID and entry >> 8 & 15 <= 1)
                at += corrected
                found |= 1 << place if entry & 0x100 else 0
                place += 1
            if run:
                at += ((earlier & band) >> place).bit_count()  # one correction bit for each
                run -= 1
            nonzero[block] |= found
        require(not run)
        return at

    return walk


def _after_zeros(earlier: int, place: int, zeros: int) -> tuple[int, int]:
    """Skip `zeros` zero coefficients; return the next place, and the nonzero ones passed, a bit each (G.1.2.3)."""
    passed = 0
    while place < 64:
        if earlier >> place & 1:
            passed += 1
        elif zeros:
            zeros -= 1
        else:
            break
        place += 1
    return place, passed

"""The coded data of a JPEG: intervals between restart markers, without extra bits."""

import re
from collections.abc import Iterator

from imgsvc.domain.imaging.file_structure.jpeg_parts import Scan
from imgsvc.domain.imaging.file_structure.jpeg_walks import walk_of
from imgsvc.domain.imaging.file_structure.reader import require

RESTART = re.compile(rb"\xff([\xd0-\xd7])")


def check_coded_data(coded: bytes, scan: Scan, interval: int) -> None:
    """Account for every bit of `coded`, including restart markers after every `interval` MCUs (0: none).

    Raises:
        UnknownPart, IndexError: `coded` contains more or less than the blocks of `scan`.
    """
    total, walk = scan.across * scan.down, walk_of(scan)
    pieces = RESTART.split(coded)
    require(interval <= total)
    step = interval or total
    require(len(pieces[::2]) == -(-total // step))
    require(all(marker[0] == 0xD0 + number % 8 for number, marker in enumerate(pieces[1::2])))
    for first, data in zip(range(0, total, step), _unstuffed(pieces[::2]), strict=True):
        used = walk(_words(data), range(first, min(first + step, total)))
        filling = (1 << -used % 8) - 1  # padding with ones up to a whole byte (ITU-T T.81, F.1.2.3)
        require(-(-used // 8) == len(data) and (not data or data[-1] & filling == filling))


def _unstuffed(pieces: list[bytes]) -> Iterator[bytes]:
    return (piece.replace(b"\xff\0", b"\xff") for piece in pieces)


def _words(data: bytes) -> list[int]:
    """Return the 24 bits that start at each byte: a code has at most 16, and may start at any bit of the first byte."""
    padded = data + bytes(2)
    return [one << 16 | two << 8 | three for one, two, three in zip(data, padded[1:], padded[2:], strict=False)]

"""Account for the bytes of a PNG or APNG: known chunks, data that ends with the last row, palettes fully in use."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from imgsvc.domain.imaging.file_structure.png_rows import (
    CHANNELS,
    GREY,
    PALETTE,
    RGB,
    SIGNATURE,
    Frame,
    Header,
    check_rows,
    check_values,
)
from imgsvc.domain.imaging.file_structure.reader import Reader, UnknownPart, require

SRGB_PRIMARIES = b"".join(value.to_bytes(4, "big") for value in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
MAX_RESOLUTION = 100_000  # pixels per metre: 2,540 dpi


def is_damaged_png(data: bytes) -> bool:
    """Return whether a checksum or the structure of `data` is wrong, even if decoders accept it."""
    try:
        return not list(_chunks(Reader(data)))
    except UnknownPart:
        return True


def check_png(data: bytes, exif: Sequence[bytes]) -> None:
    """Account for every byte of `data`; `exif` are the blocks that an eXIf chunk may contain.

    Raises:
        UnknownPart, zlib.error, Pillow's reading errors: `data` contains something that the image does not need.
    """
    reader = Reader(data)
    chunks = list(_chunks(reader))
    require(reader.finished and chunks[0][0] == b"IHDR" and chunks[-1] == (b"IEND", b""))
    header = _header(Reader(chunks[0][1]))
    single = [kind for kind, _ in chunks if kind not in {b"IDAT", b"fcTL", b"fdAT"}]
    require(len(single) == len(set(single)))
    parts = dict(chunks[1:-1])
    for kind in parts.keys() - {b"IDAT", b"fcTL", b"fdAT", b"acTL"}:
        require(parts[kind] in exif if kind == b"eXIf" else KNOWN[kind](parts[kind], header))
    frames = _frames(chunks, header)
    for frame in frames:
        check_rows(frame, header)
    check_values(frames, header, parts.get(b"PLTE", b""), parts.get(b"tRNS", b""))


def _chunks(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    reader.expect(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        size = reader.number(4)
        kind, body = reader.take(4), reader.take(size)
        require(reader.number(4) == zlib.crc32(kind + body))
        yield kind, body


def _header(reader: Reader) -> Header:
    width, height, depth, colour = reader.number(4), reader.number(4), reader.number(1), reader.number(1)
    reader.expect(b"\0\0")
    interlaced = reader.number(1)
    require(reader.finished and colour in CHANNELS and interlaced <= 1)
    return Header(width, height, depth, colour, interlaced)


def _is_resolution(body: bytes, _: Header) -> bool:
    across, down, unit = body[:4], body[4:8], body[8:]
    return across == down and int.from_bytes(across, "big") <= MAX_RESOLUTION and unit in {b"\0", b"\1"}


def _is_colour(body: bytes, header: Header) -> bool:
    """Return whether `body` is a colour: an index, one grey value, or three values."""
    if header.colour == PALETTE:
        return len(body) == 1
    values = [int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2)]
    return len(body) == (6 if header.colour in {RGB, 6} else 2) and max(values) < 1 << header.depth


def _is_transparency(body: bytes, header: Header) -> bool:
    return header.colour == PALETTE or (header.colour in {GREY, RGB} and _is_colour(body, header))


def _is_significant_bits(body: bytes, header: Header) -> bool:
    return (
        len(body) == (3 if header.colour == PALETTE else CHANNELS[header.colour]) and 0 < min(body) <= max(body) <= 16
    )


KNOWN: Mapping[bytes, Callable[[bytes, Header], bool]] = {
    b"PLTE": lambda body, header: header.colour == PALETTE and len(body) % 3 == 0,
    b"tRNS": _is_transparency,
    b"sRGB": lambda body, _: len(body) == 1 and body[0] <= 3,
    b"gAMA": lambda body, _: len(body) == 4 and int.from_bytes(body, "big") <= 1_000_000,
    b"cHRM": lambda body, _: body == SRGB_PRIMARIES,
    b"cICP": lambda body, _: len(body) == 4 and body[2] == 0 and body[3] <= 1,
    b"pHYs": _is_resolution,
    b"bKGD": _is_colour,
    b"sBIT": _is_significant_bits,
}


def _frames(chunks: Sequence[tuple[bytes, bytes]], header: Header) -> list[Frame]:
    """Return every frame that is shown; a still image outside the animation is not accepted."""
    kinds = [kind for kind, _ in chunks]
    if b"acTL" not in kinds:
        require(b"fcTL" not in kinds and b"fdAT" not in kinds)
        return [Frame(header.width, header.height, b"".join(body for kind, body in chunks if kind == b"IDAT"))]
    require(kinds.index(b"acTL") < kinds.index(b"fcTL") < kinds.index(b"IDAT"))
    return _moving_frames(chunks, header)


def _moving_frames(chunks: Sequence[tuple[bytes, bytes]], header: Header) -> list[Frame]:
    sizes: list[tuple[int, int]] = []
    pieces: list[list[bytes]] = []
    sequence = 0
    declared = 0
    for kind, body in chunks:
        if kind == b"acTL":
            declared = Reader(body).number(4)
            require(len(body) == 8)
        elif kind == b"fcTL":
            require(body[:4] == sequence.to_bytes(4, "big"))
            sizes.append(_frame_size(body, header))
            pieces.append([])
            sequence += 1
        elif kind == b"fdAT":
            require(body[:4] == sequence.to_bytes(4, "big") and len(pieces) > 1)
            pieces[-1].append(body[4:])
            sequence += 1
        elif kind == b"IDAT":
            require(len(pieces) == 1 and sizes[0] == (header.width, header.height))
            pieces[-1].append(body)
    require(declared == len(sizes))
    return [Frame(*size, b"".join(data)) for size, data in zip(sizes, pieces, strict=True)]


def _frame_size(control: bytes, header: Header) -> tuple[int, int]:
    width, height, left, top = (int.from_bytes(control[at : at + 4], "big") for at in (4, 8, 12, 16))
    require(len(control) == 26 and control[24] <= 2 and control[25] <= 1)
    require(left + width <= header.width and top + height <= header.height)
    return width, height

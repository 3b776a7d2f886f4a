"""Account for the bytes of a WebP: known chunks, bitstreams that need their last bytes (RFC 9649, RFC 6386)."""

from collections.abc import Iterator, Sequence
from io import BytesIO

from PIL import Image

from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.bool_decoder import data_partitions
from imgsvc.domain.imaging.file_structure.reader import Reader, require

Chunk = tuple[bytes, bytes]
CUT_BYTES = {b"VP8 ": 4, b"VP8L": 2, b"ALPH": 2}
CUT_MODE_BYTES = 3
"""Bytes cut off the first partition; libwebp 1.6 always notices their loss, because it reads ahead by less."""
ANIMATED, EXIF, ALPHA = 0x02, 0x08, 0x10
LOSSLESS_ALPHA = 0x10
"""Flag in byte 4 of a VP8L chunk: the image has alpha."""


def check_webp(data: bytes, exif: Sequence[bytes]) -> None:
    """Account for the bytes of `data`; `exif` are the blocks that an EXIF chunk may contain.

    A bitstream is accepted if libwebp fails or decodes a different image once its end is cut off.

    Raises:
        UnknownPart, LookupError: `data` contains something that the image does not need.
    """
    reader = Reader(data, "little")
    reader.expect(b"RIFF")
    require(reader.number(4) == len(data) - 8)
    reader.expect(b"WEBP")
    chunks = list(_chunks(reader))
    if chunks[0][0] != b"VP8X":
        require(len(chunks) == 1)
        _check_image(chunks, has_alpha=True)
        return
    flags = _check_canvas(chunks[0][1])
    rest = chunks[1:]
    if flags & EXIF:
        kind, body = rest.pop()
        require(kind == b"EXIF" and body.removeprefix(b"Exif\0\0") in exif)
    if flags & ANIMATED:
        require(rest[0][0] == b"ANIM" and len(rest[0][1]) == 6)
        for kind, body in rest[1:]:
            require(kind == b"ANMF")
            _check_frame(body, chunks[0][1][4:], has_alpha=bool(flags & ALPHA))
    else:
        _check_image(rest, chunks[0][1][4:], has_alpha=bool(flags & ALPHA))


def _chunks(reader: Reader) -> Iterator[Chunk]:
    while not reader.finished:
        kind, size = reader.take(4), reader.number(4)
        yield kind, reader.take(size)
        reader.expect(bytes(size % 2))


def _check_canvas(body: bytes) -> int:
    require(len(body) == 10 and not body[0] & ~(ANIMATED | EXIF | ALPHA) and body[1:4] == bytes(3))
    return body[0]


def _check_frame(body: bytes, canvas: bytes, *, has_alpha: bool) -> None:
    """Account for an ANMF chunk: position, size, duration, flags, and the chunks of an image."""
    reader = Reader(body, "little")
    left, top = 2 * reader.number(3), 2 * reader.number(3)
    size = reader.take(6)
    reader.take(3)
    require(reader.number(1) <= 3)
    for at, offset in ((0, left), (3, top)):
        require(offset + _number(size[at : at + 3]) <= _number(canvas[at : at + 3]))
    _check_image(list(_chunks(reader)), size, has_alpha=has_alpha)


def _number(field: bytes) -> int:
    return int.from_bytes(field, "little")


def _check_image(chunks: Sequence[Chunk], size: bytes = b"", *, has_alpha: bool) -> None:
    """Account for the chunks of one image; its canvas or frame declares `size`, both sides less one.

    Without `has_alpha` the image must have none, because browsers would not show it.
    """
    kinds = [kind for kind, _ in chunks]
    require(kinds in ([b"VP8 "], [b"VP8L"], [b"ALPH", b"VP8 "]))
    shown = _decoded(chunks)
    require(shown is not None and (not size or shown.size == (_number(size[:3]) + 1, _number(size[3:]) + 1)))
    kind, body = chunks[0]
    require(has_alpha or not (kind == b"ALPH" or (kind == b"VP8L" and body[4] & LOSSLESS_ALPHA)))
    if kind == b"ALPH" and body[0] & 3:  # compressed as the green channel of an image
        sides = sum(side - 1 << 14 * at for at, side in enumerate(_sides(chunks[1][1])))
        image = b"\x2f" + sides.to_bytes(4, "little") + body[1:]
        require(_is_flat(image, "R", "B") and _is_flat(_with_alpha(image), "A"))
    elif kind == b"VP8L" and not body[4] & LOSSLESS_ALPHA:
        require(_is_flat(_with_alpha(body), "A"))
    for at, (kind, body) in enumerate(chunks):
        shorter = [body[: -CUT_BYTES[kind]]]
        if kind == b"VP8 ":
            require(data_partitions(body) == 1)
            shorter.append(_with_fewer_modes(body))
        for cut in shorter:
            seen = _decoded([*chunks[:at], (kind, cut), *chunks[at + 1 :]])
            require(seen is None or seen != shown)


def _with_alpha(image: bytes) -> bytes:
    """Return a VP8L chunk with the flag that shows its alpha."""
    return image[:4] + bytes([image[4] | LOSSLESS_ALPHA]) + image[5:]


def _is_flat(image: bytes, *channels: str) -> bool:
    """Return whether these hidden channels of a VP8L chunk have one value everywhere."""
    seen = _decoded([(b"VP8L", image)])
    present = [channel for channel in channels if seen and channel in seen.getbands()]
    return seen is not None and all(len(set(seen.getchannel(channel).getextrema())) == 1 for channel in present)


def _with_fewer_modes(body: bytes) -> bytes:
    """Cut off the end of a VP8 frame's first partition; its size is the upper 19 bits of the tag (RFC 6386, 9.1)."""
    tag = _number(body[:3])
    end = 10 + (tag >> 5)
    require(end <= len(body))
    return (tag - (CUT_MODE_BYTES << 5)).to_bytes(3, "little") + body[3 : end - CUT_MODE_BYTES] + body[end:]


def _decoded(chunks: Sequence[Chunk]) -> Image.Image | None:
    """Decode `chunks` as a still image; None where libwebp refuses."""
    if len(chunks) > 1:
        canvas = b"".join((side - 1).to_bytes(3, "little") for side in _sides(chunks[-1][1]))
        chunks = [(b"VP8X", bytes((ALPHA, 0, 0, 0)) + canvas), *chunks]
    body = b"".join(kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2) for kind, body in chunks)
    file = BytesIO(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body)
    try:
        with Image.open(file, formats=("WEBP",)) as image:
            image.load()
            return image
    except READING_FAILURES:
        return None


def _sides(frame: bytes) -> tuple[int, int]:
    """Return width and height of a VP8 frame, without the scale in the upper two bits."""
    return _number(frame[6:8]) & 0x3FFF, _number(frame[8:10]) & 0x3FFF

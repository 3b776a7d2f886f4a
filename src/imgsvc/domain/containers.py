"""What a file holds beside its picture: where bytes that are handed on as they are could give something away."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Of JPEG, in the coded data: neither a stuffed byte, nor a restart, nor a fill byte (ITU-T T.81, B.1.1)."""
STANDALONE = frozenset({0xD8, 0xD9, 0x01, *range(0xD0, 0xD8)})

PICTURE = frozenset(
    {
        # JPEG: tables, frames, scans, restarts; the application segments that say how colours are meant
        *(f"{code:02X}" for code in (*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD)),
        "E0 JFIF", "E2 ICC_PROFILE", "EE Adobe",
        # PNG and APNG: what decides how it looks
        "IHDR", "PLTE", "IDAT", "IEND", "tRNS", "gAMA", "cHRM", "sRGB", "iCCP", "cICP", "mDCV", "cLLI", "sBIT", "bKGD",
        "pHYs", "acTL", "fcTL", "fdAT",
        # WebP, GIF, AVIF
        "VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF", "ICCP",
        "image", "F9", "FF NETSCAPE2.0", "FF ANIMEXTS1.0", "FF ICCRGBG1012",
        "ftyp", "meta", "mdat", "moov",
    }
)  # fmt: skip


def parts(data: bytes, image_format: str) -> Counter[str]:
    """The names of what `data` consists of; `damaged` where it cannot be told, `behind` for what follows its end."""
    walk = _WALKS.get(image_format)
    if walk is None:
        return Counter(["damaged"])
    try:
        return Counter(walk(data))
    except (IndexError, UnicodeDecodeError, ValueError):
        return Counter(["damaged"])


def _jpeg(data: bytes) -> Iterator[str]:
    at = 0
    while True:
        code = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError(at)
        if code == 0xD9:
            yield from _behind(data, at + 2)
            return
        if code in STANDALONE or code == 0xFF:
            at += 1 if code == 0xFF else 2
            continue
        end = at + 2 + _number(data, at + 2, 2)
        yield _segment(code, data[at + 4 : end])
        if code == 0xDA:
            found = MARKER.search(data, end)
            if found is None:
                raise ValueError(at)
            end = found.start()
        at = end


def _segment(code: int, body: bytes) -> str:
    """An application segment by what it says it is: `E1 Exif`, `E2 ICC_PROFILE`."""
    name = re.match(rb"[\x20-\x7e]+", body[:40])
    return f"{code:02X} {name[0].decode() if name else ''}"[:30] if 0xE0 <= code <= 0xEF else f"{code:02X}"


def _png(data: bytes) -> Iterator[str]:
    at, kind = 8, ""
    while kind != "IEND":
        size, kind = _number(data, at, 4), data[at + 4 : at + 8].decode("ascii")
        body = data[at + 8 : at + 8 + size]
        yield f"{kind} {body.partition(bytes(1))[0].decode('latin-1')}" if kind in {"tEXt", "zTXt", "iTXt"} else kind
        at += 12 + size
    yield from _behind(data, at)


def _webp(data: bytes) -> Iterator[str]:
    end = 8 + int.from_bytes(data[4:8], "little")
    yield from _chunks(data, 12, end)
    yield from _behind(data, end)


def _chunks(data: bytes, at: int, end: int) -> Iterator[str]:
    while at < end:
        size = _number(data, at + 4, 4, "little")
        kind = data[at : at + 4].decode("ascii")
        yield kind
        if kind == "ANMF":
            yield from _chunks(data, at + 8 + 16, at + 8 + size)
        at += 8 + size + size % 2


def _gif(data: bytes) -> Iterator[str]:
    at = 13 + _colours(data[10])
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            yield "image"
            at += 10 + _colours(data[at + 9]) + 1
        elif data[at] == 0x21:
            label, size = data[at + 1], data[at + 2]
            yield f"FF {data[at + 3 : at + 3 + size].decode('latin-1')}" if label == 0xFF else f"{label:02X}"
            at += 2
        else:
            raise ValueError(at)
        while data[at]:
            at += 1 + data[at]
        at += 1
    yield from _behind(data, at + 1)


def _colours(flags: int) -> int:
    """Bytes of the colour table that `flags` announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _avif(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        size = _number(data, at, 4)
        yield data[at + 4 : at + 8].decode("ascii")
        if size == 1:
            size = _number(data, at + 8, 8)
        at += size or len(data)  # 0: to the end of the file
        if 0 < size < 8:
            raise ValueError(at)


def _behind(data: bytes, end: int) -> Iterator[str]:
    if data[end:].strip(b"\0\r\n "):
        yield "behind"


def _number(data: bytes, at: int, size: int, order: str = "big") -> int:
    if at + size > len(data):
        raise ValueError(at)
    return int.from_bytes(data[at : at + size], "big" if order == "big" else "little")


_WALKS: Mapping[str, Callable[[bytes], Iterator[str]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "AVIF": _avif,
}

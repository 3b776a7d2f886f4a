"""Account for the bytes of an AVIF: known boxes, data of the image and its alpha (ISO/IEC 23000-22, 14496-12)."""

from collections.abc import Iterator, Mapping
from io import BytesIO

from PIL import Image

from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.file_structure.av1 import with_shorter_tiles
from imgsvc.domain.imaging.file_structure.reader import Reader, require

BRANDS = frozenset({b"avif", b"mif1", b"miaf", b"MA1A", b"MA1B"})
NAMES = frozenset({b"\0", b"Color\0", b"Alpha\0"})
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
LENGTHS: Mapping[bytes, tuple[int, ...]] = {
    b"ispe": (12,),
    b"av1C": (4,),
    b"pixi": (6, 8),
    b"colr": (11,),
    b"pasp": (8,),
}
"""Lengths of the properties that consist of numbers only."""
NONE = bytes(4)
"""Version and flags."""
STARTS: Mapping[bytes, bytes] = {b"ispe": NONE, b"pixi": NONE, b"colr": b"nclx"}
Boxes = dict[bytes, bytes]


def check_avif(data: bytes) -> None:
    """Account for the bytes of `data`, a still image.

    A tile is accepted if dav1d fails or decodes a different image once its end is cut off.

    Raises:
        UnknownPart, LookupError: `data` contains something that the image does not need.
    """
    reader = Reader(data)
    (first, brands), (second, meta), (third, content) = _boxes(reader)
    require((first, second, third) == (b"ftyp", b"meta", b"mdat"))
    require(brands[4:8] == NONE and {brands[at : at + 4] for at in (0, *range(8, len(brands), 4))} <= BRANDS)
    places = _places(meta)
    at = len(data) - len(content)
    for start, size in sorted(places):
        require(start == at)
        at += size
    require(at == len(data))
    shown = _decoded(data)
    require(shown is not None)
    for number, (start, size) in enumerate(places):
        for item in with_shorter_tiles(data[start : start + size], grey=number > 0):
            require(_decoded(data[:start] + item + data[start + size :]) != shown)


def _boxes(reader: Reader) -> Iterator[tuple[bytes, bytes]]:
    while not reader.finished:
        size = reader.number(4)
        yield reader.take(4), reader.take(size - 8)


def _only(body: bytes, *kinds: bytes) -> Boxes:
    """Return the boxes in `body`; require that they are some of `kinds`, each at most once."""
    found = list(_boxes(Reader(body)))
    boxes = dict(found)
    require(len(found) == len(boxes) and boxes.keys() <= set(kinds))
    return boxes


def _places(meta: bytes) -> list[tuple[int, int]]:
    """Account for the description of the items; return start and size of each, alpha last."""
    require(meta[:4] == NONE)
    boxes = _only(meta[4:], b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp", b"iref")
    require(boxes[b"hdlr"] == bytes(8) + b"pict" + bytes(13))
    primary = boxes[b"pitm"][4:]
    require(boxes[b"pitm"][:4] == NONE and len(primary) == 2)
    items = {primary} | _alpha(boxes.get(b"iref"), primary)
    _check_names(boxes[b"iinf"], items)
    _check_properties(boxes[b"iprp"], items)
    places = _locations(Reader(boxes[b"iloc"]), items)
    return [places[item] for item in sorted(items, key=lambda item: item != primary)]


def _alpha(references: bytes | None, primary: bytes) -> set[bytes]:
    if references is None:
        return set()
    require(references[:4] == NONE)
    link = _only(references[4:], b"auxl")[b"auxl"]
    require(len(link) == 6 and link[2:] == b"\0\1" + primary)
    return {link[:2]}


def _check_names(body: bytes, items: set[bytes]) -> None:
    require(body[:6] == NONE + len(items).to_bytes(2, "big"))
    found = set()
    for kind, entry in _boxes(Reader(body[6:])):
        require(kind == b"infe" and entry[:4] == b"\2\0\0\0" and entry[6:12] == b"\0\0av01" and entry[12:] in NAMES)
        found.add(entry[4:6])
    require(found == items)


def _check_properties(body: bytes, items: set[bytes]) -> None:
    boxes = _only(body, b"ipco", b"ipma")
    kinds = []
    for kind, value in _boxes(Reader(boxes[b"ipco"])):
        require(value == NONE + ALPHA if kind == b"auxC" else len(value) in LENGTHS[kind])
        require(value.startswith(STARTS.get(kind, b"")) and (kind != b"pasp" or value[:4] == value[4:]))
        kinds.append(kind)
    reader = Reader(boxes[b"ipma"])
    reader.expect(NONE + len(items).to_bytes(4, "big"))
    used: set[int] = set()
    for _ in items:
        require(reader.take(2) in items)
        own = [index & 127 for index in reader.take(reader.number(1))]
        require(len({kinds[index - 1] for index in own}) == len(own))  # decoders ignore the second of a kind
        used |= set(own)
    require(reader.finished and used == set(range(1, len(kinds) + 1)))


def _locations(reader: Reader, items: set[bytes]) -> dict[bytes, tuple[int, int]]:
    reader.expect(NONE + b"\x44\0" + len(items).to_bytes(2, "big"))
    found = {}
    for _ in items:
        item = reader.take(2)
        reader.expect(b"\0\0\0\1")  # in this file, in one extent
        found[item] = reader.number(4), reader.number(4)
    require(reader.finished and found.keys() == items)
    return found


def _decoded(data: bytes) -> Image.Image | None:
    try:
        with Image.open(BytesIO(data), formats=("AVIF",)) as image:
            image.load()
            return image
    except READING_FAILURES:
        return None

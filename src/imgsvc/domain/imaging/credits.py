"""The artist and the copyright of an image, from EXIF, XMP, IPTC or PNG text."""

from collections.abc import Iterator
from contextlib import suppress
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring
from PIL import ExifTags, Image, IptcImagePlugin
from PIL.ImageFile import ImageFile

from imgsvc.domain.imaging.decode import READING_FAILURES

ARTIST, COPYRIGHT = ExifTags.Base.Artist, ExifTags.Base.Copyright
Credit = tuple[int, str | bytes]
"""One of the two EXIF tags, and its value."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_PADDING = " \0\t\r\n"
MAX_CREDIT_LENGTH = 2_000  # bytes
MAX_PACKET_BYTES = 65_000
"""Limit of the XMP that is parsed: about a JPEG segment. Even the deepest nesting in it is parsed quickly."""


def credits_of(image: ImageFile, exif: Image.Exif) -> dict[int, str | bytes]:
    """Return artist and copyright, each from the first source that has it: EXIF, XMP, IPTC, PNG text."""
    found: dict[int, str | bytes] = {}
    for source in (_from_exif(exif), _from_xmp(image), _from_iptc(image), _from_png_text(image)):
        if len(found) < len((ARTIST, COPYRIGHT)):
            with suppress(*READING_FAILURES):  # damaged credits are no reason to refuse a good image
                for tag, value in source:
                    found.setdefault(tag, value)
    return found


def _from_exif(exif: Image.Exif) -> Iterator[Credit]:
    for tag in (ARTIST, COPYRIGHT):
        value = exif.get(tag)
        if isinstance(value, str) and value.strip(_PADDING):  # cameras may write only spaces
            yield tag, value


def _from_xmp(image: ImageFile) -> Iterator[Credit]:
    packet = image.info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else packet
    if not packet or len(packet) > MAX_PACKET_BYTES:
        return
    root = fromstring(packet if packet[:2] in {b"\xff\xfe", b"\xfe\xff"} else packet.strip(_PADDING.encode()))
    for tag, name, choose in ((ARTIST, "creator", _all_creators), (COPYRIGHT, "rights", _default_rights)):
        for element in _properties(root, f"{_DUBLIN_CORE}{name}"):
            if text := _shortened(choose(element)):
                yield tag, text


def _properties(root: Element, name: str) -> Iterator[Element]:
    """Yield the properties of the image itself, not those of the images that it was made from."""
    for rdf in (root, *root):
        for description in rdf.findall(f"{_RDF}Description"):
            yield from description.findall(name)


def _all_creators(creators: Element) -> str:
    return "; ".join(filter(None, (_text(item) for item in creators.iter(f"{_RDF}li")))) or _text(creators)


def _default_rights(rights: Element) -> str:
    """Return the text in the default language, otherwise in the first that has one."""
    items = sorted(rights.iter(f"{_RDF}li"), key=lambda item: item.get(_LANGUAGE) != "x-default")
    return next(filter(None, map(_text, items)), "") or _text(rights)


def _text(element: Element) -> str:
    return (element.text or "").strip(_PADDING)


def _from_iptc(image: ImageFile) -> Iterator[Credit]:
    fields = IptcImagePlugin.getiptcinfo(image) or {}
    for tag, field in ((ARTIST, (2, 80)), (COPYRIGHT, (2, 116))):  # by-line, copyright notice
        value = fields.get(field) or b""
        if text := b"; ".join(value if isinstance(value, list) else [value]).strip(_PADDING.encode()):
            yield tag, text[:MAX_CREDIT_LENGTH]


def _from_png_text(image: ImageFile) -> Iterator[Credit]:
    for tag, keyword in ((ARTIST, "Author"), (COPYRIGHT, "Copyright")):  # PNG, table 21
        value = image.info.get(keyword)
        if isinstance(value, str) and value.strip(_PADDING):
            yield tag, _shortened(value.strip(_PADDING))


def _shortened(text: str) -> bytes:
    return text.encode()[:MAX_CREDIT_LENGTH].decode(errors="ignore").encode()

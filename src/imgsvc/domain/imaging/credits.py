"""The artist and the copyright of an image, from EXIF, XMP, IPTC or PNG text."""

from collections.abc import Iterator
from contextlib import suppress
from xml.etree.ElementTree import Element

from PIL import ExifTags, Image, IptcImagePlugin
from PIL.ImageFile import ImageFile

from imgsvc.domain.imaging.decode import READING_FAILURES
from imgsvc.domain.imaging.xmp import PADDING, RDF, properties

ARTIST, COPYRIGHT = ExifTags.Base.Artist, ExifTags.Base.Copyright
Credit = tuple[int, str | bytes]
"""One of the two EXIF tags, and its value."""

_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
MAX_CREDIT_LENGTH = 2_000  # bytes


def credits_of(image: ImageFile, exif: Image.Exif, xmp: Element | None) -> dict[int, str | bytes]:
    """Return artist and copyright, each from the first source that has it: EXIF, XMP (parsed), IPTC, PNG text."""
    found: dict[int, str | bytes] = {}
    for source in (_from_exif(exif), _from_xmp(xmp), _from_iptc(image), _from_png_text(image)):
        if len(found) < len((ARTIST, COPYRIGHT)):
            with suppress(*READING_FAILURES):  # damaged credits are no reason to refuse a good image
                for tag, value in source:
                    found.setdefault(tag, value)
    return found


def _from_exif(exif: Image.Exif) -> Iterator[Credit]:
    for tag in (ARTIST, COPYRIGHT):
        value = exif.get(tag)
        if isinstance(value, str) and value.strip(PADDING):  # cameras may write only spaces
            yield tag, value


def _from_xmp(root: Element | None) -> Iterator[Credit]:
    if root is None:
        return
    for tag, name, choose in ((ARTIST, "creator", _all_creators), (COPYRIGHT, "rights", _default_rights)):
        for element in properties(root, f"{_DUBLIN_CORE}{name}"):
            if text := _shortened(choose(element)):
                yield tag, text


def _all_creators(creators: Element) -> str:
    return "; ".join(filter(None, (_text(item) for item in creators.iter(f"{RDF}li")))) or _text(creators)


def _default_rights(rights: Element) -> str:
    """Return the text in the default language, otherwise in the first that has one."""
    items = sorted(rights.iter(f"{RDF}li"), key=lambda item: item.get(_LANGUAGE) != "x-default")
    return next(filter(None, map(_text, items)), "") or _text(rights)


def _text(element: Element) -> str:
    return (element.text or "").strip(PADDING)


def _from_iptc(image: ImageFile) -> Iterator[Credit]:
    fields = IptcImagePlugin.getiptcinfo(image) or {}
    for tag, field in ((ARTIST, (2, 80)), (COPYRIGHT, (2, 116))):  # by-line, copyright notice
        value = fields.get(field) or b""
        if text := b"; ".join(value if isinstance(value, list) else [value]).strip(PADDING.encode()):
            yield tag, text[:MAX_CREDIT_LENGTH]


def _from_png_text(image: ImageFile) -> Iterator[Credit]:
    for tag, keyword in ((ARTIST, "Author"), (COPYRIGHT, "Copyright")):  # PNG, table 21
        value = image.info.get(keyword)
        if isinstance(value, str) and value.strip(PADDING):
            yield tag, _shortened(value.strip(PADDING))


def _shortened(text: str) -> bytes:
    return text.encode()[:MAX_CREDIT_LENGTH].decode(errors="ignore").encode()

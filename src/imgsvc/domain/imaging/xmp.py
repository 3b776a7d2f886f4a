"""XMP packets: the properties of an image in one, and a packet with its digital source type alone."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from imgsvc.domain.imaging.decode import READING_FAILURES

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DIGITAL_SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
NEWSCODE = re.compile(r"(?:https?://cv\.iptc\.org/newscodes/digitalsourcetype/)?[A-Za-z]{1,60}")
"""A term of IPTC's vocabulary, as its address or alone. Any other text could hide something."""
PADDING = " \0\t\r\n"
MAX_PARSED_BYTES = 65_000
"""Limit of the XMP that is parsed: about a JPEG segment. Even the deepest nesting in it is parsed quickly."""
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def packet_of(info: Mapping[str | tuple[int, int], Any]) -> bytes:
    """Return the XMP packet that Pillow read, empty if there is none."""
    packet: str | bytes = info.get("xmp") or b""
    return packet.encode() if isinstance(packet, str) else packet


def parse(packet: bytes) -> Element | None:
    """Return the root of a packet; None if it is missing, damaged or too long."""
    if not packet or len(packet) > MAX_PARSED_BYTES:
        return None
    with suppress(*READING_FAILURES):  # a damaged packet is no reason to refuse a good image
        root: Element = fromstring(
            packet if packet[:2] in {b"\xff\xfe", b"\xfe\xff"} else packet.strip(PADDING.encode())
        )
        return root
    return None


def properties(root: Element, name: str) -> Iterator[Element]:
    """Yield the properties of the image itself, not those of the images that it was made from."""
    for description in _descriptions(root):
        yield from description.findall(name)


def _descriptions(root: Element) -> Iterator[Element]:
    for rdf in (root, *root):
        yield from rdf.findall(f"{RDF}Description")


def digital_source_of(root: Element | None) -> str | None:
    """Return the digital source type, which says how an image was made, for example by a trained model.

    XMP has three notations for it: an element with text, one that refers to a resource, and an attribute.
    """
    for description in _descriptions(root) if root is not None else ():
        found = [description.get(DIGITAL_SOURCE_TYPE)]
        for element in description.findall(DIGITAL_SOURCE_TYPE):
            found += [element.text, element.get(f"{RDF}resource")]
        for value in found:
            if value and NEWSCODE.fullmatch(value.strip(PADDING)):
                return value.strip(PADDING)
    return None


def packet_with(digital_source: str) -> bytes:
    """Return a packet that contains only this digital source type."""
    return PACKET.format(digital_source).encode()

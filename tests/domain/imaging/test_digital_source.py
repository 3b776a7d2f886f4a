"""IPTC's digital source type, which marks generated images, is kept in every format, and nothing else of the XMP."""

from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from imgsvc.domain.imaging.compress import CodecLimits, compress
from imgsvc.domain.imaging.spec import Spec
from support.images import COPYRIGHT, animation, decoded, encoded, photo_jpeg, scene
from support.metadata import CREDITS, rendition, xmp

pytestmark = pytest.mark.usefixtures("prepared_pillow")

NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TERM = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def element(value: str = TERM) -> str:
    return f"<i:DigitalSourceType xmlns:i='{NAMESPACE}'>{value}</i:DigitalSourceType>"


def stored(image_format: str, packet: bytes) -> bytes:
    """Return an image with an XMP packet, where its format keeps it."""
    options: dict[str, Any] = {"xmp": packet}
    if image_format == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        options = {"pnginfo": text}
    if image_format == "TIFF":
        tags = ImageFileDirectory_v2()
        tags.tagtype[700], tags[700] = 1, packet
        options = {"tiffinfo": tags}
    return encoded(scene(96, 64), image_format, **options)


def packet_in(data: bytes) -> bytes | None:
    packet = decoded(data).info.get("xmp")
    return packet.encode() if isinstance(packet, str) else packet


def properties_in(data: bytes) -> list[tuple[str, str | None]]:
    """Return names and texts of all properties in the XMP of an image."""
    packet = packet_in(data)
    if packet is None:
        return []
    root: Element = fromstring(packet)
    [description] = root.findall(f"{RDF}RDF/{RDF}Description")
    assert description.attrib == {f"{RDF}about": ""}
    return [(child.tag, child.text) for child in description]


KEPT = [(f"{{{NAMESPACE}}}DigitalSourceType", TERM)]


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_mark_alone_is_kept_from_every_format_to_every_format(image_format: str, target: str) -> None:
    result = rendition(stored(image_format, xmp(CREDITS + element())), "copyright", format=target)
    assert properties_in(result.data) == KEPT
    assert decoded(result.data).getexif()[COPYRIGHT].encode("latin-1").decode() == "© Shop Ltd"


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(xmp(element(f"\n {TERM} ")), id="white space"),
        pytest.param(xmp(element("").replace("'>", f"' rdf:resource='{TERM}'>")), id="resource"),
        pytest.param(
            xmp().replace(
                b"tiff:Orientation", f"xmlns:i='{NAMESPACE}' i:DigitalSourceType='{TERM}' tiff:Orientation".encode()
            ),
            id="attribute",
        ),
        pytest.param(xmp(element()).decode().encode("utf-16"), id="UTF-16"),
    ],
)
def test_every_notation_is_read(packet: bytes) -> None:
    data = encoded(scene(96, 64), "WEBP", xmp=packet)
    assert properties_in(rendition(data, "copyright").data) == KEPT


@pytest.mark.parametrize("value", ["compositeSynthetic", TERM.replace("http:", "https:")])
def test_the_term_is_kept_as_it_was_written(value: str) -> None:
    data = rendition(photo_jpeg(xmp=xmp(element(value))), "copyright").data
    assert properties_in(data) == [(KEPT[0][0], value)]


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(xmp(), id="no mark"),
        pytest.param(xmp(element("")), id="empty"),
        pytest.param(xmp(element("Anna, 12 Main Street")), id="hidden text"),
        pytest.param(xmp(element(TERM + "/" + "x" * 100)), id="longer address"),
        pytest.param(
            xmp(f"<xmpMM:Pantry><rdf:Bag><rdf:li>{element()}</rdf:li></rdf:Bag></xmpMM:Pantry>"), id="ingredient"
        ),
        pytest.param(xmp(element())[:-90], id="damaged"),
    ],
)
def test_without_a_known_mark_no_xmp_is_written(packet: bytes) -> None:
    assert packet_in(rendition(photo_jpeg(xmp=packet), "copyright").data) is None


def test_policy_none_removes_the_mark_and_policy_all_keeps_the_packet() -> None:
    data = photo_jpeg(xmp=xmp(CREDITS + element()))
    both = [Spec(name="without", keep_metadata="none"), Spec()]
    without, main = compress(data, both, CodecLimits()).renditions
    assert (packet_in(without.data), properties_in(main.data)) == (None, KEPT)
    assert b"48,8N" in (packet_in(rendition(data, "all").data) or b"")


@pytest.mark.parametrize("target", ["png", "webp", "avif"])
def test_animations_keep_the_mark(target: str) -> None:
    data = animation("WEBP", xmp=xmp(element()))
    result = rendition(data, "copyright", format=target)
    assert getattr(decoded(result.data), "n_frames", 1) == 3
    assert properties_in(result.data) == KEPT


def test_the_mark_survives_a_second_compression() -> None:
    first = rendition(photo_jpeg(xmp=xmp(element())), "copyright", format="webp")
    second = rendition(first.data, "copyright", format="png", max_width=50)
    assert properties_in(second.data) == KEPT

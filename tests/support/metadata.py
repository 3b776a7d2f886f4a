"""Metadata for test images, and the rendition under a policy."""

from typing import Any

from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.spec import Spec
from support.images import exif

TAGS = exif(copyright="Shop Ltd", artist="A. Painter", make="Camera", gps={1: "N", 2: (48.0, 8.0, 1.0)})
CREDITS = """<dc:creator><rdf:Seq><rdf:li>Jörg</rdf:li><rdf:li>A. Painter</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>© Shop Ltd</rdf:li><rdf:li xml:lang='de'>© Laden</rdf:li></rdf:Alt>
</dc:rights>"""


def rendition(data: bytes, policy: str, **options: Any) -> Rendition:
    spec = Spec.model_validate({"keep_metadata": policy, **options})
    return compress(data, [spec], CodecLimits()).renditions[0]


def xmp(properties: str = CREDITS) -> bytes:
    """Return an XMP packet with an orientation, a location and `properties`."""
    return f"""<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
<rdf:Description xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:tiff='http://ns.adobe.com/tiff/1.0/'
  xmlns:exif='http://ns.adobe.com/exif/1.0/' xmlns:xmpMM='http://ns.adobe.com/xap/1.0/mm/'
  tiff:Orientation='6' exif:GPSLatitude='48,8N'>
{properties}</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>""".encode()


def segment(code: int, body: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


def iptc(**fields: bytes) -> bytes:
    """Return an APP13 segment with Photoshop's resource for IPTC."""
    numbers = {"byline": 80, "copyright": 116}
    records = b"".join(
        b"\x1c\x02" + bytes([numbers[name]]) + len(value).to_bytes(2, "big") + value for name, value in fields.items()
    )
    records += b"\0" * (len(records) % 2)
    return segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records)

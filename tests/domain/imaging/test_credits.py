"""Artist and copyright are kept, from whichever part of the file they come."""

from typing import Any

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from support.images import ARTIST, COPYRIGHT, decoded, encoded, exif, photo_jpeg, scene
from support.metadata import iptc, rendition, xmp

pytestmark = pytest.mark.usefixtures("prepared_pillow")


@pytest.mark.parametrize("policy", ["copyright", "all"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_keep_their_umlauts(policy: str, encoding: str) -> None:
    block = Image.Exif()
    block[COPYRIGHT], block[ARTIST] = "© 2026 Müller".encode(encoding), "Jörg".encode(encoding)
    kept = decoded(rendition(photo_jpeg(exif=block), policy).data).getexif()
    assert [kept[tag].encode("latin-1").decode(encoding) for tag in (COPYRIGHT, ARTIST)] == ["© 2026 Müller", "Jörg"]


def credits_in(data: bytes) -> tuple[str | None, str | None]:
    block = decoded(data).getexif()
    artist, copyrights = (block.get(tag) for tag in (ARTIST, COPYRIGHT))
    return tuple(value and value.encode("latin-1").decode() for value in (artist, copyrights))  # type: ignore[return-value]


@pytest.mark.parametrize("policy", ["copyright", "all"])
@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF"])
def test_credits_of_xmp_are_kept_in_exif(image_format: str, policy: str) -> None:
    data = rendition(encoded(scene(96, 64), image_format, xmp=xmp()), policy).data
    assert credits_in(data) == ("Jörg; A. Painter", "© Shop Ltd")


def test_credits_of_iptc_are_kept_in_exif() -> None:
    block = iptc(byline=b"A. Painter", copyright="© Müller".encode())
    assert credits_in(rendition(photo_jpeg(extra=block), "copyright").data) == ("A. Painter", "© Müller")


def test_credits_of_a_png_are_kept_in_exif() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "A. Painter")
    text.add_text("Copyright", "© Müller")
    data = encoded(scene(96, 64), "PNG", pnginfo=text)
    assert credits_in(rendition(data, "copyright", format="webp").data) == ("A. Painter", "© Müller")


def test_exif_takes_precedence_over_xmp() -> None:
    data = photo_jpeg(exif=exif(copyright="Shop Ltd"), xmp=xmp())
    assert credits_in(rendition(data, "copyright").data) == ("Jörg; A. Painter", "Shop Ltd")


def test_policy_none_removes_xmp_and_iptc() -> None:
    data = rendition(photo_jpeg(xmp=xmp(), extra=iptc(copyright=b"Shop Ltd")), "none").data
    assert b"Shop Ltd" not in data
    assert not decoded(data).getexif()


BOMB = b"<!DOCTYPE a [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;'>]><a>&b;</a>"


@pytest.mark.parametrize("packet", [BOMB, b"<a", b"\xff\xfe<", b"<a>" * 2_000, xmp().replace(b"rdf:li>", b"rdf:la>")])
def test_damaged_xmp_does_not_affect_other_credits(packet: bytes) -> None:
    data = photo_jpeg(exif=exif(copyright="Shop Ltd"), xmp=packet)
    assert decoded(rendition(data, "copyright").data).getexif()[COPYRIGHT] == "Shop Ltd"


def made_of(creator: str) -> str:
    """Return properties of an image that this one was made from, as Photoshop writes them."""
    return f"<xmpMM:Pantry><rdf:Bag><rdf:li rdf:parseType='Resource'>{creator}</rdf:li></rdf:Bag></xmpMM:Pantry>"


def creators(*names: str) -> str:
    return f"<dc:creator><rdf:Seq>{''.join(f'<rdf:li>{name}</rdf:li>' for name in names)}</rdf:Seq></dc:creator>"


ANNA = creators("Anna")


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(xmp(creators("", " ", "Anna")), id="empty names"),
        pytest.param(xmp(made_of(creators("A stranger")) + ANNA), id="another image first"),
        pytest.param(xmp(ANNA + made_of(creators("A stranger"))), id="another image last"),
        pytest.param(xmp("<dc:creator>Anna</dc:creator>"), id="no list"),
        pytest.param(xmp(ANNA).decode().encode("utf-16"), id="UTF-16"),
        pytest.param(b"\r\n" + xmp(ANNA) + bytes(2_000), id="padding"),
        pytest.param(xmp(ANNA).split(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>")[1].split(b"</x:")[0], id="RDF alone"),
    ],
)
def test_xmp_of_various_shapes_is_read(packet: bytes) -> None:
    assert credits_in(rendition(encoded(scene(96, 64), "WEBP", xmp=packet), "copyright").data)[0] == "Anna"


def test_the_default_language_of_the_copyright_is_kept() -> None:
    rights = "<rdf:li xml:lang='de'>Laden</rdf:li><rdf:li xml:lang='x-default'>Shop</rdf:li>"
    data = photo_jpeg(xmp=xmp(f"<dc:rights><rdf:Alt>{rights}</rdf:Alt></dc:rights>"))
    assert credits_in(rendition(data, "copyright").data) == (None, "Shop")


@pytest.mark.parametrize("policy", ["copyright", "all"])
def test_blank_credits_of_a_camera_are_filled_from_iptc(policy: str) -> None:
    data = photo_jpeg(exif=exif(copyright=" " * 54, artist=" " * 36), extra=iptc(byline=b"Anna", copyright=b"Shop"))
    assert credits_in(rendition(data, policy).data) == ("Anna", "Shop")


@pytest.mark.parametrize(("kind", "value"), [(3, (1, 2, 3)), (5, 1.5), (7, b"Anna\xff"), (1, b"Anna\0"), (12, 0.5)])
@pytest.mark.parametrize("policy", ["copyright", "all"])
def test_an_artist_that_is_not_text_does_not_affect_the_copyright(policy: str, kind: int, value: Any) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[ARTIST], tags.tagtype[COPYRIGHT] = kind, TiffTags.ASCII
    tags[ARTIST], tags[COPYRIGHT] = value, "Shop"
    data = photo_jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0" + tags.tobytes(8))
    assert decoded(rendition(data, policy).data).getexif()[COPYRIGHT] == "Shop"


def test_xmp_over_the_limit_is_not_parsed() -> None:
    nested = xmp("<rdf:li>" * 400_000 + "</rdf:li>" * 400_000 + ANNA)
    assert credits_in(rendition(encoded(scene(96, 64), "WEBP", xmp=nested), "copyright").data) == (None, None)
    wide = xmp(creators(*["n"] * 3_000))
    assert len(credits_in(rendition(encoded(scene(96, 64), "WEBP", xmp=wide), "copyright").data)[0] or "") == 2_000

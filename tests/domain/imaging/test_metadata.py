"""Metadata policies: credits are kept, locations are removed."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from support.images import COPYRIGHT, GPS, MAKE, ORIENTATION, decoded, encoded, exif, oriented, photo_jpeg, scene
from support.metadata import TAGS, rendition, xmp

pytestmark = pytest.mark.usefixtures("prepared_pillow")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_credits_are_kept_and_the_location_is_removed(image_format: str) -> None:
    block = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "copyright").data).getexif()
    assert dict(block) == {COPYRIGHT: "Shop Ltd", 0x013B: "A. Painter"}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_policy_none_removes_exif(image_format: str) -> None:
    image = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "none").data)
    assert not image.getexif()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_policy_all_keeps_exif(image_format: str) -> None:
    block = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "all").data).getexif()
    assert block[MAKE] == "Camera"
    assert block.get_ifd(GPS)[1] == "N"


def test_the_orientation_is_removed_once_it_is_applied() -> None:
    assert ORIENTATION not in decoded(rendition(oriented(6), "all").data).getexif()


def test_a_tiff_keeps_its_credits_and_not_its_layout() -> None:
    block = decoded(rendition(encoded(scene(96, 64), "TIFF", exif=exif(copyright="Shop Ltd")), "all").data).getexif()
    assert block[COPYRIGHT] == "Shop Ltd"
    assert 0x0111 not in block


def test_comments_of_the_input_are_removed() -> None:
    assert b"my secret" not in rendition(photo_jpeg(comment=b"my secret"), "copyright").data


def test_a_block_too_long_for_the_format_shrinks_to_the_credits() -> None:
    long = exif(copyright="Shop Ltd", make="x" * 70_000)
    result = rendition(encoded(scene(96, 64), "PNG", exif=long), "all", format="jpeg")
    assert decoded(result.data).getexif()[COPYRIGHT] == "Shop Ltd"


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_policy_all_keeps_xmp_with_an_upright_orientation(target: str) -> None:
    image = decoded(rendition(photo_jpeg(xmp=xmp()), "all", format=target).data)
    packet = image.info["xmp"]
    packet = packet if isinstance(packet, bytes) else packet.encode()
    assert packet.strip() == xmp().replace(b"tiff:Orientation='6'", b"tiff:Orientation='1'")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_in_xmp_alone_is_ignored(image_format: str) -> None:
    hidden = PngInfo()
    hidden.add_itxt("XML:com.adobe.xmp", xmp().decode())
    options = {"pnginfo": hidden} if image_format == "PNG" else {"xmp": xmp()}
    assert decoded(rendition(encoded(scene(96, 64), image_format, **options), "all").data).size == (96, 64)


def test_maker_notes_are_dropped_first() -> None:
    block = exif(copyright="Shop Ltd", make="Camera")
    block[0x8769] = {0x927C: b"x" * 65_200, 0x8827: 200}
    long = encoded(scene(96, 64), "WEBP", exif=block.tobytes())
    kept = decoded(rendition(long, "all", format="jpeg").data).getexif()
    assert kept[MAKE] == "Camera"
    assert kept.get_ifd(0x8769) == {0x8827: 200}
    assert 0x927C in decoded(rendition(long, "all").data).getexif().get_ifd(0x8769)


def test_xmp_is_kept_if_exif_is_too_long_to_be_read() -> None:
    data = encoded(scene(96, 64), "WEBP", xmp=xmp(), exif=b"Exif\0\0II*\0" + bytes(2**20))
    assert b"tiff:Orientation" in decoded(rendition(data, "all", quality=5).data).info["xmp"]


def test_an_xmp_packet_too_long_for_jpeg_is_omitted() -> None:
    data = encoded(scene(96, 64), "WEBP", xmp=xmp() + b" " * 66_000)
    assert "xmp" not in decoded(rendition(data, "all", format="jpeg").data).info


def test_the_interoperability_table_is_omitted() -> None:
    camera = {0x8827: 200, 0xA005: 9_999}  # the film speed, and the pointer to the interoperability table
    block = Image.Exif()
    block[0x8769] = camera
    kept = decoded(rendition(photo_jpeg(exif=block), "all").data).getexif().get_ifd(0x8769)
    assert kept == {0x8827: 200}

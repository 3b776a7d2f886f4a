"""Who took it stays, where it was taken does not."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from support.images import COPYRIGHT, GPS, MAKE, ORIENTATION, decoded, encoded, exif, oriented, photo_jpeg, scene
from support.metadata import TAGS, rendition, xmp

pytestmark = pytest.mark.usefixtures("prepared_pillow")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_credits_stay_and_the_place_goes(image_format: str) -> None:
    block = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "copyright").data).getexif()
    assert dict(block) == {COPYRIGHT: "Shop Ltd", 0x013B: "A. Painter"}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_nothing_stays_when_nothing_is_wanted(image_format: str) -> None:
    image = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "none").data)
    assert not image.getexif()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_whole_block_stays_when_all_is_wanted(image_format: str) -> None:
    block = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "all").data).getexif()
    assert block[MAKE] == "Camera"
    assert block.get_ifd(GPS)[1] == "N"


def test_the_orientation_goes_with_the_turn_whatever_is_kept() -> None:
    assert ORIENTATION not in decoded(rendition(oriented(6), "all").data).getexif()


def test_a_tiff_hands_on_its_credits_and_not_its_layout() -> None:
    block = decoded(rendition(encoded(scene(96, 64), "TIFF", exif=exif(copyright="Shop Ltd")), "all").data).getexif()
    assert block[COPYRIGHT] == "Shop Ltd"
    assert 0x0111 not in block


def test_comments_of_the_input_are_left_behind() -> None:
    assert b"my secret" not in rendition(photo_jpeg(comment=b"my secret"), "copyright").data


def test_a_block_too_long_for_the_format_shrinks_to_the_credits() -> None:
    long = exif(copyright="Shop Ltd", make="x" * 70_000)
    result = rendition(encoded(scene(96, 64), "PNG", exif=long), "all", format="jpeg")
    assert decoded(result.data).getexif()[COPYRIGHT] == "Shop Ltd"


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "avif"])
def test_the_whole_packet_stays_upright_when_all_is_wanted(target: str) -> None:
    image = decoded(rendition(photo_jpeg(xmp=xmp()), "all", format=target).data)
    packet = image.info["xmp"]
    packet = packet if isinstance(packet, bytes) else packet.encode()
    assert packet.strip() == xmp().replace(b"tiff:Orientation='6'", b"tiff:Orientation='1'")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_what_stands_in_xmp_alone_turns_nothing(image_format: str) -> None:
    hidden = PngInfo()
    hidden.add_itxt("XML:com.adobe.xmp", xmp().decode())
    options = {"pnginfo": hidden} if image_format == "PNG" else {"xmp": xmp()}
    assert decoded(rendition(encoded(scene(96, 64), image_format, **options), "all").data).size == (96, 64)


def test_notes_of_the_camera_go_before_everything_else_does() -> None:
    block = exif(copyright="Shop Ltd", make="Camera")
    block[0x8769] = {0x927C: b"x" * 65_200, 0x8827: 200}
    long = encoded(scene(96, 64), "WEBP", exif=block.tobytes())
    kept = decoded(rendition(long, "all", format="jpeg").data).getexif()
    assert kept[MAKE] == "Camera"
    assert kept.get_ifd(0x8769) == {0x8827: 200}
    assert 0x927C in decoded(rendition(long, "all").data).getexif().get_ifd(0x8769)


def test_xmp_stays_where_exif_is_too_long_to_be_read() -> None:
    data = encoded(scene(96, 64), "WEBP", xmp=xmp(), exif=b"Exif\0\0II*\0" + bytes(2**20))
    assert b"tiff:Orientation" in decoded(rendition(data, "all", quality=5).data).info["xmp"]


def test_a_packet_too_long_for_jpeg_is_left_out() -> None:
    data = encoded(scene(96, 64), "WEBP", xmp=xmp() + b" " * 66_000)
    assert "xmp" not in decoded(rendition(data, "all", format="jpeg").data).info


def test_a_table_that_cannot_move_with_the_block_is_left_out() -> None:
    camera = {0x8827: 200, 0xA005: 9_999}  # the film speed, and where the interoperability table lies
    block = Image.Exif()
    block[0x8769] = camera
    kept = decoded(rendition(photo_jpeg(exif=block), "all").data).getexif().get_ifd(0x8769)
    assert kept == {0x8827: 200}

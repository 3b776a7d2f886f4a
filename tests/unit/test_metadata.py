"""Who took it stays, where it was taken does not."""

from typing import Any

import pytest
from PIL import Image

from imgsvc.domain.images import CodecLimits, Rendition, compress
from imgsvc.domain.specs import Spec
from pictures import COPYRIGHT, GPS, MAKE, ORIENTATION, decoded, encoded, exif, oriented, photo_jpeg, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")

TAGS = exif(copyright="Shop Ltd", artist="A. Painter", make="Camera", gps={1: "N", 2: (48.0, 8.0, 1.0)})
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>48 N</x:xmpmeta>"


def rendition(data: bytes, policy: str, **wishes: Any) -> Rendition:
    spec = Spec.model_validate({"keep_metadata": policy, **wishes})
    return compress(data, [spec], CodecLimits()).renditions[0]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_credits_stay_and_the_place_goes(image_format: str) -> None:
    block = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "copyright").data).getexif()
    assert dict(block) == {COPYRIGHT: "Shop Ltd", 0x013B: "A. Painter"}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_nothing_stays_when_nothing_is_wanted(image_format: str) -> None:
    picture = decoded(rendition(encoded(scene(96, 64), image_format, exif=TAGS), "none").data)
    assert not picture.getexif()


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


@pytest.mark.parametrize("policy", ["none", "copyright"])
@pytest.mark.parametrize("hidden", [{"exif": TAGS}, {"xmp": XMP}])
def test_a_place_is_not_given_away_to_save_bytes(policy: str, hidden: dict[str, Any]) -> None:
    data = photo_jpeg(quality=5, **hidden)
    result = rendition(data, policy, quality=95)
    assert len(result.data) > len(data), "the test wants a picture that grows"
    assert result.action == "compressed"
    assert not decoded(result.data).getexif().get_ifd(GPS)
    assert b"48 N" not in result.data


def test_credits_alone_do_not_keep_a_picture_from_staying_as_it_is() -> None:
    data = photo_jpeg(quality=5, exif=exif(copyright="Shop Ltd"))
    assert rendition(data, "copyright", quality=95).action == "kept_original"
    assert rendition(data, "none", quality=95).action == "compressed"
    assert rendition(photo_jpeg(quality=5, exif=TAGS), "all", quality=95).action == "kept_original"


def test_comments_of_the_input_are_left_behind() -> None:
    assert b"my secret" not in rendition(photo_jpeg(comment=b"my secret"), "copyright").data


def test_a_block_too_long_for_the_format_shrinks_to_the_credits() -> None:
    long = exif(copyright="Shop Ltd", make="x" * 70_000)
    result = rendition(encoded(scene(96, 64), "PNG", exif=long), "all", format="jpeg")
    assert decoded(result.data).getexif()[COPYRIGHT] == "Shop Ltd"


def test_a_table_that_cannot_move_with_the_block_is_left_out() -> None:
    camera = {0x8827: 200, 0xA005: 9_999}  # the film speed, and where the interoperability table lies
    block = Image.Exif()
    block[0x8769] = camera
    kept = decoded(rendition(photo_jpeg(exif=block), "all").data).getexif().get_ifd(0x8769)
    assert kept == {0x8827: 200}

"""The demo's images: each that should become a rendition does, and each broken one fails as it should."""

import csv
from collections.abc import Mapping
from io import BytesIO, StringIO

import pytest
from PIL import ExifTags, Image, ImageOps

from imgsvc.demo.catalogue import HEADER, METADATA_SERVER, PRODUCTS, Answer, manifest, stock
from imgsvc.demo.shop.pictures import Photo, photos
from imgsvc.domain.addresses import is_allowed, parse_literal
from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.errors import CodecError, DecodeError, NotAnImage, TooManyPixels
from support.images import decoded, pixel

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prepared_pillow")]
Stock = Mapping[str, tuple[Answer, ...]]

BROKEN: Mapping[str, type[CodecError]] = {
    "/clock-back.jpg": NotAnImage,
    "/book-spine.jpg": DecodeError,
    "/poster-for-print.png": TooManyPixels,
}
SIDEWAYS = {"/vase-terracotta.jpg": 6, "/plant-front.jpg": 8}
LISTED = {picture for product in PRODUCTS for picture in product.images}
BASE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def drawn() -> list[Photo]:
    return list(photos())


@pytest.fixture(scope="module")
def served() -> Stock:
    """The stock draws for itself, so the images exist twice."""
    return stock()


@pytest.fixture(scope="module")
def good(served: Stock) -> Mapping[str, bytes]:
    """The bytes of each image that can be had, by path."""
    return {
        path: answers[-1].body for path, answers in served.items() if answers[-1].status == 200 and path not in BROKEN
    }


@pytest.fixture(scope="module")
def renditions(good: Mapping[str, bytes]) -> Mapping[str, Rendition]:
    return {path: compressed(data) for path, data in good.items()}


def compressed(data: bytes) -> Rendition:
    return compress(data, [Spec()], CodecLimits()).renditions[0]


# -- what succeeds ----------------------------------------------------------------------------------------------------


def test_about_forty_images_become_renditions_and_most_weigh_far_less(
    good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    assert len(renditions) >= 40
    before, after = (sum(map(len, data)) for data in (good.values(), (r.data for r in renditions.values())))
    assert 8_000_000 < before < 16_000_000
    assert after < before / 4


def test_only_the_small_gift_card_is_so_small_already_that_it_is_kept(renditions: Mapping[str, Rendition]) -> None:
    assert [path for path, r in renditions.items() if r.action == "kept_original"] == ["/gift-card-small.jpg"]


def test_images_come_in_all_the_formats_of_real_shops(good: Mapping[str, bytes]) -> None:
    kinds = {(image.format, image.mode) for image in map(decoded, good.values())}
    assert kinds == {
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"),
        ("WEBP", "RGB"), ("WEBP", "RGBA"), ("AVIF", "RGB"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"),
    }  # fmt: skip


def test_some_jpegs_are_progressive_and_some_are_not(good: Mapping[str, bytes]) -> None:
    jpegs = [decoded(data) for path, data in good.items() if path.endswith(".jpg")]
    assert {"progressive" in image.info for image in jpegs} == {True, False}


def test_what_is_cut_out_has_transparent_corners_and_an_opaque_middle(good: Mapping[str, bytes]) -> None:
    for path in ("/headphones-cutout.png", "/sunglasses-cutout.webp", "/sticker-fox.png"):
        low, high = decoded(good[path]).getchannel("A").getextrema()
        assert (pixel(decoded(good[path]))[3], low, high) == (0, 0, 255)


def test_sizes_and_shapes_differ(good: Mapping[str, bytes]) -> None:
    sizes = [ImageOps.exif_transpose(decoded(data)).size for data in good.values()]
    assert min(max(size) for size in sizes) <= 320
    assert max(sizes) == (2400, 1800)
    shapes = {(width > height) - (width < height) for width, height in sizes}
    assert shapes == {-1, 0, 1}


def test_the_turntable_moves(good: Mapping[str, bytes], renditions: Mapping[str, Rendition]) -> None:
    for data in (good["/mug-turntable.gif"], renditions["/mug-turntable.gif"].data):
        assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == 12


@pytest.mark.parametrize(("path", "orientation"), SIDEWAYS.items())
def test_a_image_stored_sideways_comes_out_upright(
    path: str, orientation: int, good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    stored, upright = decoded(good[path]), decoded(renditions[path].data)
    assert stored.getexif()[ExifTags.Base.Orientation] == orientation
    assert (stored.size, upright.size) == ((1250, 1000), (1000, 1250))
    red, _, blue = pixel(upright, (500, 1000))  # the terracotta of the vase and of the pot, low in the middle
    assert red > blue + 60
    red, _, blue = pixel(upright, (100, 100))  # the backdrop
    assert abs(red - blue) < 60


def test_the_photographers_name_is_kept_and_the_place_is_not(
    good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    before, after = (
        decoded(data).getexif() for data in (good["/backpack-blue.jpg"], renditions["/backpack-blue.jpg"].data)
    )
    assert before[ExifTags.Base.Copyright] == after[ExifTags.Base.Copyright]
    assert before.get_ifd(ExifTags.IFD.GPSInfo)
    assert not after.get_ifd(ExifTags.IFD.GPSInfo)


def test_the_same_bytes_are_drawn_twice(served: Stock, drawn: list[Photo]) -> None:
    assert {photo.name: photo.data for photo in drawn} == {
        photo.name: served[f"/{photo.name}"][-1].body for photo in drawn
    }


# -- what fails, and what takes two tries -----------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "error"), BROKEN.items())
def test_a_broken_image_fails_for_its_own_reason(path: str, error: type[CodecError], served: Stock) -> None:
    (answer,) = served[path]
    with pytest.raises(error):
        compressed(answer.body)


def test_one_image_is_not_there(served: Stock) -> None:
    assert [path for path, answers in served.items() if answers[-1].status == 404] == ["/candle-lid.jpg"]


def test_two_addresses_lead_to_each_other_for_ever(served: Stock) -> None:
    (there,), (back,) = served["/watch-strap.jpg"], served["/watch-strap-new.jpg"]
    assert (there.status, back.status) == (302, 302)
    assert (there.location, back.location) == ("/watch-strap-new.jpg", "/watch-strap.jpg")


def test_the_metadata_server_of_a_cloud_stands_in_the_csv_and_may_not_be_called() -> None:
    assert METADATA_SERVER in manifest(BASE)
    address = parse_literal(METADATA_SERVER.split("/")[2])
    assert address
    assert not is_allowed(address)


def test_one_image_comes_at_the_second_try(served: Stock) -> None:
    assert [answer.status for answer in served["/lamp-front.jpg"]] == [503, 200]


def test_one_image_has_moved_to_where_another_one_is(served: Stock) -> None:
    moved = served["/bottle-latest.jpg"][0]
    assert moved.status == 302
    assert moved.location
    assert served[moved.location][-1].media_type == "image/jpeg"


# -- the catalogue ----------------------------------------------------------------------------------------------------


def test_each_image_of_a_product_is_in_stock(served: Stock) -> None:
    assert {path for path in LISTED if path.startswith("/")} <= served.keys()


def test_each_image_in_stock_belongs_to_a_product_or_is_led_to(served: Stock) -> None:
    led_to = {answer.location for answers in served.values() for answer in answers if answer.location}
    assert served.keys() == (LISTED | led_to) - {METADATA_SERVER}


def test_names_are_unique(drawn: list[Photo]) -> None:
    names = [photo.name for photo in drawn]
    assert len(names) == len(set(names))
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS) >= 18


def test_the_csv_is_accepted_without_a_warning_and_two_images_are_shared() -> None:
    read = read_manifest(manifest(BASE).encode())
    assert [(p.serial_number, p.product_name) for p in read.products] == [(p.serial_number, p.name) for p in PRODUCTS]
    assert set(read.assets) == {path if "://" in path else BASE + path for path in LISTED}
    assert (read.warnings, read.url_count - len(read.assets)) == ([], 2)


def test_the_csv_has_the_columns_of_the_brief_and_crlf() -> None:
    text = manifest(BASE)
    assert (
        next(csv.reader(StringIO(text, newline=""))) == list(HEADER) == ["S. No.", "Product Name", "Input Image Urls"]
    )
    assert text.count("\n") == text.count("\r\n") == len(PRODUCTS) + 1

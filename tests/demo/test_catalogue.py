"""The demo's catalogue: its sample files, the failures it shows, and its CSV."""

import csv
from collections.abc import Mapping
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from PIL import ExifTags, Image, ImageOps

from imgsvc.demo import catalogue
from imgsvc.demo.catalogue import HEADER, METADATA_SERVER, PRODUCTS, Response, manifest, responses, sample_images
from imgsvc.domain.addresses import is_allowed, parse_literal
from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.errors import CodecError, DecodeError, NotAnImage, TooManyPixels
from support.images import decoded, pixel
from support.paths import ROOT

Responses = Mapping[str, tuple[Response, ...]]

FOLDER = Path(catalogue.__file__).with_name("images")
MAX_BYTES = 1_500_000
"""Every installed imgsvc carries the sample files."""
BROKEN: Mapping[str, type[CodecError]] = {
    "/clock-back.jpg": NotAnImage,
    "/book-spine.jpg": DecodeError,
    "/poster-for-print.png": TooManyPixels,
}
SIDEWAYS = {"/vase-terracotta.jpg": 6, "/plant-front.jpg": 8}
LISTED = {image for product in PRODUCTS for image in product.images}
BASE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def served() -> Responses:
    return responses()


@pytest.fixture(scope="module")
def good(served: Responses) -> Mapping[str, bytes]:
    """The bytes of each image that can be compressed, by path."""
    return {
        path: sequence[-1].body
        for path, sequence in served.items()
        if sequence[-1].status == 200 and path not in BROKEN
    }


@pytest.fixture(scope="module")
def renditions(good: Mapping[str, bytes]) -> Mapping[str, Rendition]:
    return {path: compressed(data) for path, data in good.items()}


def compressed(data: bytes) -> Rendition:
    return compress(data, [Spec()], CodecLimits()).renditions[0]


# -- the sample files -------------------------------------------------------------------------------------------------


def test_the_sample_files_are_those_of_the_folder_and_are_small_together() -> None:
    sizes = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sizes == {name: len(data) for name, data in sample_images().items()}
    assert len(sizes) >= 20
    assert sum(sizes.values()) <= MAX_BYTES


@pytest.mark.parametrize("builder", [SdistBuilder, WheelBuilder])
def test_every_package_contains_the_sample_files(builder: type[SdistBuilder] | type[WheelBuilder]) -> None:
    packed = {Path(file.path) for file in builder(str(ROOT)).recurse_included_files()}
    assert packed >= set(FOLDER.iterdir())


def test_every_sample_file_is_an_image_of_the_format_that_its_name_says() -> None:
    formats = {".jpg": "JPEG", ".tif": "TIFF"}
    for name, data in sample_images().items():
        suffix = Path(name).suffix
        assert decoded(data).format == formats.get(suffix, suffix[1:].upper()), name


def test_the_sample_files_contain_no_personal_data() -> None:
    """A shop's copyright and the position 0°, 0° are enough to show which metadata a rendition keeps."""
    for name, data in sample_images().items():
        image = Image.open(BytesIO(data))
        exif = image.getexif()
        if image.format != "TIFF":  # whose tags describe the pixels
            assert exif.keys() <= {ExifTags.Base.Orientation, ExifTags.Base.Copyright, ExifTags.Base.GPSInfo}, name
        assert exif.get(ExifTags.Base.Copyright, "(c) Fjell Goods") == "(c) Fjell Goods", name
        position = exif.get_ifd(ExifTags.IFD.GPSInfo)
        assert {float(part) for value in position.values() if isinstance(value, tuple) for part in value} <= {0.0}, name
        assert image.info.keys().isdisjoint({"comment", "xmp", "icc_profile", "photoshop"}), name
        assert getattr(image, "text", {}) == {}, name


def test_every_image_is_compressed_and_most_become_far_smaller(
    good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    before, after = (sum(map(len, data)) for data in (good.values(), (r.data for r in renditions.values())))
    assert after < before / 2
    halved = [path for path, rendition in renditions.items() if len(rendition.data) < len(good[path]) / 2]
    assert len(halved) > len(good) / 2


def test_only_the_small_gift_card_is_kept_unchanged(renditions: Mapping[str, Rendition]) -> None:
    assert [path for path, r in renditions.items() if r.action == "kept_original"] == ["/gift-card-small.jpg"]


def test_the_images_have_all_the_formats_of_real_shops(good: Mapping[str, bytes]) -> None:
    kinds = {(image.format, image.mode) for image in map(decoded, good.values())}
    assert kinds == {
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"),
        ("WEBP", "RGB"), ("WEBP", "RGBA"), ("AVIF", "RGB"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"),
    }  # fmt: skip


def test_some_jpegs_are_progressive_and_some_are_not(good: Mapping[str, bytes]) -> None:
    jpegs = [decoded(data) for path, data in good.items() if path.endswith(".jpg")]
    assert {"progressive" in image.info for image in jpegs} == {True, False}


def test_cutouts_have_transparent_corners_and_an_opaque_middle(good: Mapping[str, bytes]) -> None:
    for path in ("/headphones-cutout.png", "/sunglasses-cutout.webp"):
        low, high = decoded(good[path]).getchannel("A").getextrema()
        assert (pixel(decoded(good[path]))[3], low, high) == (0, 0, 255)


def test_sizes_and_shapes_differ(good: Mapping[str, bytes]) -> None:
    sizes = [ImageOps.exif_transpose(decoded(data)).size for data in good.values()]
    assert min(max(size) for size in sizes) <= 200
    assert max(max(size) for size in sizes) >= 1200
    shapes = {(width > height) - (width < height) for width, height in sizes}
    assert shapes == {-1, 0, 1}


def test_the_turntable_moves(good: Mapping[str, bytes], renditions: Mapping[str, Rendition]) -> None:
    for data in (good["/mug-turntable.gif"], renditions["/mug-turntable.gif"].data):
        assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == 12


@pytest.mark.parametrize(("path", "orientation"), SIDEWAYS.items())
def test_an_image_stored_sideways_becomes_upright(
    path: str, orientation: int, good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    stored, upright = decoded(good[path]), decoded(renditions[path].data)
    assert stored.getexif()[ExifTags.Base.Orientation] == orientation
    assert (stored.size, upright.size) == ((900, 720), (720, 900))
    red, _, blue = pixel(upright, (360, 720))  # the terracotta of the vase and of the pot, low in the middle
    assert red > blue + 60
    red, _, blue = pixel(upright, (72, 72))  # the backdrop
    assert abs(red - blue) < 60


def test_a_copyright_is_kept_and_a_gps_position_is_not(
    good: Mapping[str, bytes], renditions: Mapping[str, Rendition]
) -> None:
    before, after = (
        decoded(data).getexif() for data in (good["/backpack-blue.jpg"], renditions["/backpack-blue.jpg"].data)
    )
    assert before[ExifTags.Base.Copyright] == after[ExifTags.Base.Copyright]
    assert before.get_ifd(ExifTags.IFD.GPSInfo)
    assert not after.get_ifd(ExifTags.IFD.GPSInfo)


# -- failures and detours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "error"), BROKEN.items())
def test_each_broken_image_fails_for_its_own_reason(path: str, error: type[CodecError], served: Responses) -> None:
    (response,) = served[path]
    with pytest.raises(error):
        compressed(response.body)


def test_one_image_is_missing(served: Responses) -> None:
    assert [path for path, sequence in served.items() if sequence[-1].status == 404] == ["/candle-lid.jpg"]


def test_two_addresses_redirect_to_each_other(served: Responses) -> None:
    (there,), (back,) = served["/watch-strap.jpg"], served["/watch-strap-new.jpg"]
    assert (there.status, back.status) == (302, 302)
    assert (there.location, back.location) == ("/watch-strap-new.jpg", "/watch-strap.jpg")


def test_the_csv_lists_a_forbidden_metadata_server() -> None:
    assert METADATA_SERVER in manifest(BASE)
    address = parse_literal(METADATA_SERVER.split("/")[2])
    assert address
    assert not is_allowed(address)


def test_one_image_is_served_at_the_second_attempt(served: Responses) -> None:
    assert [response.status for response in served["/lamp-front.jpg"]] == [503, 200]


def test_one_image_has_moved_to_the_address_of_another(served: Responses) -> None:
    moved = served["/bottle-latest.jpg"][0]
    assert moved.status == 302
    assert moved.location
    assert served[moved.location][-1].media_type == "image/jpeg"


# -- the CSV ----------------------------------------------------------------------------------------------------------


def test_each_image_of_a_product_is_served(served: Responses) -> None:
    assert {path for path in LISTED if path.startswith("/")} <= served.keys()


def test_each_served_image_belongs_to_a_product_or_is_the_target_of_a_redirect(served: Responses) -> None:
    targets = {response.location for sequence in served.values() for response in sequence if response.location}
    assert served.keys() == (LISTED | targets) - {METADATA_SERVER}


def test_names_of_products_are_unique() -> None:
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS) >= 18


def test_the_csv_is_accepted_without_a_warning_and_two_images_are_shared() -> None:
    read = read_manifest(manifest(BASE).encode())
    assert [(p.serial_number, p.product_name) for p in read.products] == [(p.serial_number, p.name) for p in PRODUCTS]
    assert set(read.assets) == {path if "://" in path else BASE + path for path in LISTED}
    assert (read.warnings, read.url_count - len(read.assets)) == ([], 2)


def test_the_csv_has_the_default_columns_and_crlf() -> None:
    text = manifest(BASE)
    assert (
        next(csv.reader(StringIO(text, newline=""))) == list(HEADER) == ["S. No.", "Product Name", "Input Image Urls"]
    )
    assert text.count("\n") == text.count("\r\n") == len(PRODUCTS) + 1

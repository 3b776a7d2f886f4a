"""The compressor: formats, sizes, orientation, transparency, and the rule that renditions are never larger."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from imgsvc.domain.imaging.compress import Compressed, Rendition, compress
from imgsvc.domain.imaging.decode import CodecLimits
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import CodecError
from support.images import (
    alpha_png,
    animation,
    cmyk_jpeg,
    corners,
    corpus,
    cut_out,
    decoded,
    distance,
    encoded,
    grey16_png,
    multipage_tiff,
    oriented,
    palette_png,
    photo_jpeg,
    photograph,
    pixel,
    quarters,
    scene,
    truncated,
)

pytestmark = pytest.mark.usefixtures("prepared_pillow")
LIMITS = CodecLimits()


def rendition(data: bytes, spec: Spec | None = None) -> Rendition:
    return compress(data, [spec or Spec()], LIMITS).renditions[0]


# -- formats ----------------------------------------------------------------------------------------------------------

FLAT = quarters(64, 48)


@pytest.mark.parametrize(
    ("data", "written"),
    [
        pytest.param(photo_jpeg(), "jpeg", id="jpeg"),
        pytest.param(encoded(scene(), "MPO", save_all=True, append_images=[scene(seed=2)]), "jpeg", id="mpo"),
        pytest.param(encoded(photograph(), "PNG"), "png", id="png"),
        pytest.param(encoded(scene(), "WEBP", quality=95), "webp", id="webp"),
        pytest.param(encoded(scene(64, 48), "AVIF", quality=95), "avif", id="avif"),
        pytest.param(encoded(scene(), "GIF"), "jpeg", id="gif"),
        pytest.param(encoded(scene(), "BMP"), "jpeg", id="bmp"),
        pytest.param(encoded(scene(), "TIFF"), "jpeg", id="tiff"),
        pytest.param(encoded(scene(), "JPEG2000"), "jpeg", id="jpeg2000"),
        pytest.param(encoded(scene(256, 256), "ICO"), "jpeg", id="ico"),
        pytest.param(encoded(cut_out(), "TIFF"), "png", id="transparent tiff"),
        pytest.param(encoded(scene().convert("RGBA"), "TIFF"), "jpeg", id="tiff with opaque alpha"),
    ],
)
def test_original_keeps_the_formats_of_the_web_and_turns_the_rest_into_jpeg_or_png(data: bytes, written: str) -> None:
    result = rendition(data)
    assert (result.format, result.action) == (written, "compressed")
    assert (decoded(result.data).format or "").lower() == written
    assert len(result.data) < len(data)


@pytest.mark.parametrize("wanted", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize(
    "data", [photo_jpeg(64, 48), alpha_png(), palette_png(), grey16_png(), cmyk_jpeg(), animation()]
)
def test_every_image_can_be_written_in_every_format(data: bytes, wanted: str) -> None:
    result = rendition(data, Spec(format=Format(wanted)))
    image = decoded(result.data)
    assert result.format == wanted
    assert (image.format or "").lower() == wanted
    assert image.size == (result.width, result.height) == decoded(data).size


def test_a_higher_quality_is_larger_and_looks_better() -> None:
    data = photo_jpeg()
    low, high = (rendition(data, Spec(quality=quality)).data for quality in (20, 85))
    assert len(low) < len(high)
    assert error(decoded(data), decoded(low)) > error(decoded(data), decoded(high))


def error(one: Image.Image, other: Image.Image) -> int:
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs)


def test_several_specs_give_several_renditions_in_their_order() -> None:
    specs = [Spec(), Spec(name="thumb", max_width=100), Spec(name="web", format=Format.webp, max_height=60)]
    result = compress(photo_jpeg(), specs, LIMITS)
    assert (result.input_format, result.width, result.height) == ("jpeg", 640, 480)
    assert [(r.format, r.width, r.height) for r in result.renditions] == [
        ("jpeg", 640, 480),
        ("jpeg", 100, 75),
        ("webp", 80, 60),
    ]
    assert [decoded(r.data).size for r in result.renditions] == [(640, 480), (100, 75), (80, 60)]


# -- size -------------------------------------------------------------------------------------------------------------


def test_a_thumbnail_is_as_sharp_as_one_made_from_all_pixels() -> None:
    full = scene().convert("L")  # grey, because a JPEG subsamples colours
    for x in range(0, 640, 12):
        ImageDraw.Draw(full).line((x, 0, x + 80, 480), fill=0, width=2)
    small = decoded(rendition(encoded(full, "JPEG", quality=92), Spec(quality=95, max_width=160)).data)
    assert error(full.resize((160, 120), Image.Resampling.LANCZOS), small) / (160 * 120 * 3) < 4


def test_a_small_image_is_never_enlarged() -> None:
    result = rendition(photo_jpeg(64, 48), Spec(max_width=500, max_height=500))
    assert decoded(result.data).size == (64, 48)


def test_limits_apply_to_the_upright_image() -> None:
    result = rendition(oriented(6), Spec(max_width=30))
    assert (result.width, result.height) == decoded(result.data).size == (30, 20)


# -- orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_becomes_upright(image_format: str, orientation: int) -> None:
    result = compress(oriented(orientation, image_format), [Spec(keep_metadata="all")], LIMITS)
    image = decoded(result.renditions[0].data)
    assert corners(image) == ["red", "green", "blue", "yellow"]
    assert image.size == (result.width, result.height) == (60, 40)
    assert 0x0112 not in image.getexif()


def test_a_rotated_original_is_never_kept() -> None:
    data = oriented(6, quality=5)
    result = rendition(data, Spec(quality=95, keep_metadata="all"))
    assert len(result.data) > len(data)
    assert result.action == "compressed"


# -- transparency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["png", "webp", "avif"])
def test_transparency_is_kept_if_the_format_has_it(wanted: str) -> None:
    image = decoded(rendition(alpha_png(), Spec(format=Format(wanted))).data).convert("RGBA")
    assert pixel(image, (0, 0))[3] == 0
    assert pixel(image, (60, 40))[3] == 255
    soft = set(image.getchannel("A").tobytes()) - {0, 255}
    assert len(soft) > 4, "the edge of the cut-out is hard"


@pytest.mark.parametrize(("background", "seen"), [("#ffffff", (255, 255, 255)), ("#ff8000", (255, 128, 0))])
@pytest.mark.parametrize("data", [alpha_png(), palette_png(), encoded(cut_out().convert("LA"), "PNG")])
def test_jpeg_shows_the_background_and_never_black(data: bytes, background: str, seen: tuple[int, ...]) -> None:
    image = decoded(rendition(data, Spec(format=Format.jpeg, quality=90, background=background)).data)
    assert distance(pixel(image, (4, 4)), seen) < 8


def test_a_palette_with_a_transparent_colour_keeps_it() -> None:
    image = decoded(rendition(palette_png(), Spec(max_width=60)).data).convert("RGBA")
    assert pixel(image, (5, 5))[3] == 0
    assert pixel(image, (55, 5)) == (0, 200, 0, 255)


# -- never larger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(photo_jpeg(quality=10), id="jpeg"),
        pytest.param(encoded(scene(), "WEBP", quality=2), id="webp"),
        pytest.param(encoded(scene(96, 64), "AVIF", quality=2), id="avif"),
        pytest.param(encoded(FLAT.quantize(4), "PNG", optimize=True), id="png"),
        pytest.param(encoded(FLAT.quantize(4), "GIF"), id="gif"),
        pytest.param(animation(), id="animated gif"),
    ],
)
def test_the_original_bytes_are_kept_when_compressing_gains_nothing(data: bytes) -> None:
    result = rendition(data, Spec(quality=95))
    assert result.action == "kept_original"
    assert result.data == data
    assert result.format == (decoded(data).format or "").lower()


@pytest.mark.parametrize(
    "spec", [Spec(quality=95, max_width=600), Spec(quality=95, format=Format.webp), Spec(format=Format.png)]
)
def test_the_original_is_not_kept_if_another_size_or_format_is_requested(spec: Spec) -> None:
    data = photo_jpeg(quality=5)
    result = rendition(data, spec)
    assert len(result.data) > len(data)
    assert result.action == "compressed"


# -- real images ----------------------------------------------------------------------------------------------------

# Pillow raises a SyntaxError here, others elsewhere.
PNG_WITH_A_BROKEN_CHUNK = b"\0\1\2\3".join(encoded(scene(), "PNG").rsplit(b"IDAT", 1))
MADE = [
    (photo_jpeg(64, 48), "OK"),
    (alpha_png(), "OK"),
    (palette_png(), "OK"),
    (grey16_png(), "OK"),
    (cmyk_jpeg(), "OK"),
    (multipage_tiff(), "OK"),
    (animation("PNG"), "OK"),
    (truncated(photo_jpeg()), "DECODE_ERROR"),
    (truncated(alpha_png()), "DECODE_ERROR"),
    (PNG_WITH_A_BROKEN_CHUNK, "DECODE_ERROR"),
    (b"<html></html>", "NOT_AN_IMAGE"),
]
SPECS = [Spec(), *(Spec(name=f.value, format=f, max_width=64) for f in (Format.jpeg, Format.png, Format.webp))]
REFUSED = {"unsupported_format", "not_an_image"}
CODES = {
    "BOMB_ERROR": {"too_many_pixels"},
    "DECODE_ERROR": {"decode_error"} | REFUSED,
    "OPEN_ERROR": {"decode_error"} | REFUSED,
    "NOT_AN_IMAGE": {"decode_error"} | REFUSED,
}


@pytest.mark.parametrize(
    ("source", "verdict", "accepted"),
    [
        *(pytest.param(data, verdict, True, id=f"made {number}") for number, (data, verdict) in enumerate(MADE)),
        *(
            pytest.param(path, row["verdict"], row["format"] in LIMITS.formats, id=path.name)
            for path, row in corpus("images")
        ),
        *(pytest.param(path, "OK", True, id=path.name) for path, _ in corpus("photos")[::4]),
    ],
)
def test_every_image_is_compressed_or_refused_with_a_code(source: Path | bytes, verdict: str, accepted: bool) -> None:
    data = source if isinstance(source, bytes) else source.read_bytes()
    outcome = try_compress(data, SPECS)
    if isinstance(outcome, str):
        assert outcome in CODES.get(verdict, set() if accepted else REFUSED)
        return
    assert verdict.startswith("OK")
    for result in outcome.renditions:
        image = decoded(result.data)
        assert image.size == (result.width, result.height)
        assert (image.format or "").lower() == result.format


def try_compress(data: bytes, specs: Sequence[Spec]) -> Compressed | str:
    try:
        return compress(data, specs, LIMITS)
    except CodecError as error:
        return error.code

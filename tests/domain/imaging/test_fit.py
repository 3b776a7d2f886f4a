"""Renditions of a given shape: what they show, where, and on which background."""

from typing import Any

import pytest
from PIL import Image, ImageSequence

from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.decode import ReservationTooSmall, TooSlowForThread
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import TooManyPixels
from support.images import (
    animation,
    cmyk_jpeg,
    corners,
    cut_out,
    decoded,
    distance,
    encoded,
    exif,
    grey16_png,
    oriented,
    palette_png,
    photo_jpeg,
    pixel,
    quarters,
    scene,
)

pytestmark = pytest.mark.usefixtures("prepared_pillow")
LIMITS = CodecLimits()


def rendition(data: bytes, **options: Any) -> Rendition:
    return compress(data, [Spec.model_validate({"width": 200, "height": 200, **options})], LIMITS).renditions[0]


def shown(data: bytes, **options: Any) -> Image.Image:
    result = rendition(data, **options)
    image = decoded(result.data)
    assert image.size == (result.width, result.height)
    return image


INPUTS = [
    pytest.param(photo_jpeg(300, 200), id="jpeg"),
    pytest.param(photo_jpeg(90, 60), id="small jpeg"),
    pytest.param(oriented(6), id="lying jpeg"),
    pytest.param(cmyk_jpeg(), id="cmyk"),
    pytest.param(grey16_png(), id="16 bits"),
    pytest.param(palette_png(), id="palette"),
    pytest.param(encoded(cut_out(), "PNG"), id="transparent png"),
    pytest.param(encoded(cut_out().convert("LA"), "PNG"), id="transparent grey"),
    pytest.param(encoded(scene(), "AVIF"), id="avif"),
    pytest.param(animation("GIF"), id="gif"),
    pytest.param(animation("WEBP"), id="animated webp"),
]


@pytest.mark.parametrize("wanted", ["original", "jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("fit", ["cover", "pad"])
@pytest.mark.parametrize("data", INPUTS)
def test_cover_and_pad_have_exactly_the_size_of_the_box(data: bytes, fit: str, wanted: str) -> None:
    image = shown(data, fit=fit, width=70, height=90, format=wanted)
    assert {frame.size for frame in ImageSequence.Iterator(image)} == {(70, 90)}
    assert getattr(image, "n_frames", 1) == (getattr(decoded(data), "n_frames", 1) if wanted != "jpeg" else 1)


def test_contain_enlarges_until_the_box_is_touched() -> None:
    assert shown(encoded(quarters(60, 40), "PNG"), fit="contain").size == (200, 133)
    assert corners(shown(encoded(quarters(60, 40), "PNG"), fit="contain")) == ["red", "green", "blue", "yellow"]


def test_cover_shows_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    for data in (encoded(image, "PNG"), encoded(image.resize((2400, 800)), "JPEG", subsampling=0, quality=95)):
        cover = shown(data, fit="cover", width=100, height=100)
        assert {distance(pixel(cover, at), (0, 0, 255)) < 30 for at in ((3, 3), (96, 3), (3, 96), (96, 96))} == {True}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_is_that_of_the_upright_image(orientation: int) -> None:
    assert corners(shown(oriented(orientation), fit="contain", height=None)) == ["red", "green", "blue", "yellow"]
    padded = shown(oriented(orientation), fit="pad")
    assert distance(pixel(padded, (100, 20)), (255, 255, 255)) < 20
    assert distance(pixel(padded, (20, 50)), (255, 0, 0)) < 40


@pytest.mark.parametrize("wanted", ["original", "png", "webp"])
def test_padding_around_an_opaque_image_is_background(wanted: str) -> None:
    padded = shown(photo_jpeg(300, 200), fit="pad", format=wanted, background="#ff8000")
    assert not padded.has_transparency_data
    assert [distance(pixel(padded, at), (255, 128, 0)) < 12 for at in ((5, 5), (195, 5), (5, 195), (195, 195))] == [
        True
    ] * 4


@pytest.mark.parametrize("wanted", ["original", "webp", "avif"])
def test_padding_around_a_transparent_image_is_transparent(wanted: str) -> None:
    padded = shown(encoded(cut_out(), "PNG"), fit="pad", format=wanted, background="#ff8000")
    assert pixel(padded, (5, 5))[3] == 0
    assert pixel(padded, (100, 100))[3] == 255


def test_a_format_without_transparency_gets_the_background_everywhere() -> None:
    padded = shown(encoded(cut_out(), "PNG"), fit="pad", format="jpeg", background="#ff8000")
    assert [distance(pixel(padded, at), (255, 128, 0)) < 12 for at in ((5, 5), (5, 100))] == [True, True]


def test_grey_stays_grey_on_a_grey_background_only() -> None:
    grey = encoded(scene().convert("L"), "JPEG")
    assert shown(grey, fit="pad").mode == "L"
    assert distance(pixel(shown(grey, fit="pad", background="blue"), (5, 5)), (0, 0, 255)) < 12


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("opaque_first", [True, False])
def test_padding_is_the_same_in_every_frame(image_format: str, opaque_first: bool) -> None:
    frames = [quarters(60, 40).convert("RGBA"), cut_out(60, 40)]
    frames = frames if opaque_first else frames[::-1]
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    data = encoded(
        frames[0], image_format, save_all=True, append_images=frames[1:], duration=100, disposal=2, **lossless
    )
    padded = shown(data, fit="pad", width=100, height=100)
    seen = {pixel(frame.convert("RGBA"), (2, 2)) for frame in ImageSequence.Iterator(padded)}
    assert len(list(ImageSequence.Iterator(padded))) == 2
    assert len({alpha for *_, alpha in seen}) == 1


@pytest.mark.parametrize("fit", ["contain", "cover", "pad"])
def test_an_original_of_the_wanted_shape_may_be_kept_and_no_other(fit: str) -> None:
    data = photo_jpeg(64, 48, quality=5)
    assert rendition(data, fit=fit, width=64, height=48, quality=95).data == data
    other = rendition(data, fit=fit, width=64, height=40, quality=95)
    assert (other.action, other.height) == ("compressed", 40)


def test_a_large_jpeg_is_decoded_smaller_for_a_cover_and_shows_the_same() -> None:
    full = scene(1600, 1200)
    cover = shown(encoded(full, "JPEG", quality=95), fit="cover", width=100, height=100, quality=95)
    expected = full.resize((100, 100), Image.Resampling.LANCZOS, (200, 0, 1400, 1200))
    pairs = zip(expected.tobytes(), cover.tobytes(), strict=True)
    assert sum(abs(a - b) for a, b in pairs) / 30_000 < 6


# -- limits -----------------------------------------------------------------------------------------------------------

DOT = encoded(Image.new("RGB", (1, 1), "red"), "PNG")


def test_a_rendition_may_not_have_more_pixels_than_an_image() -> None:
    with pytest.raises(TooManyPixels, match=r"20,000 × 20,000 pixels"):
        rendition(DOT, fit="pad", width=20_000, height=20_000)
    tall = encoded(Image.new("RGB", (1, 2_000)), "PNG")
    with pytest.raises(TooManyPixels, match=r"500 × 1,000,000 pixels"):
        rendition(tall, fit="contain", width=500, height=None)


def test_what_trimming_leaves_may_not_become_too_large_either() -> None:
    line = Image.new("RGB", (2_000, 2_000), "white")
    line.paste("black", (1_000, 2, 1_002, 1_998))
    with pytest.raises(TooManyPixels, match=r"1,000 × 998,000 pixels"):
        rendition(encoded(line, "PNG"), trim=True, fit="contain", width=1_000, height=None)


def test_the_size_of_a_strip_is_judged_once_it_is_upright_and_trimmed() -> None:
    limits, spec = CodecLimits(max_pixels=1_000_000), Spec(fit="contain", width=500)
    lying = encoded(Image.new("RGB", (20, 4_000)), "PNG", exif=exif(orientation=6))
    assert compress(lying, [spec], limits).renditions[0].height == 2
    tall = Image.new("RGB", (100, 2_000), "white")
    tall.paste("black", (20, 20, 80, 80))
    trimming = spec.model_copy(update={"trim": True})
    assert compress(encoded(tall, "PNG"), [trimming], limits).renditions[0].height == 500


def test_enlarged_animations_count_all_their_frames() -> None:
    frames = [Image.new("RGB", (2, 2), (number, 0, 0)) for number in range(6)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(TooManyPixels, match="250 million pixels in all frames"):
        rendition(data, fit="pad", width=7_000, height=7_000)


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({"fit": "pad", "width": 1_000, "height": 1_000}, 500_000),
        ({"fit": "pad", "width": 1_000, "height": 500}, 375_000),
        ({"fit": "pad", "width": 1_000, "height": 1_000, "format": "webp"}, 1_500_000),
    ],
)
def test_the_memory_of_an_enlarged_rendition_is_reserved(options: dict[str, Any], weight: int) -> None:
    with pytest.raises(ReservationTooSmall) as asked:
        compress(DOT, [Spec.model_validate({"format": "jpeg", **options})], LIMITS, reserved_pixels=100)
    assert abs(asked.value.pixels - weight) <= 500


def test_memory_that_depends_on_the_trimmed_size_is_reserved_once_it_is_known() -> None:
    line = Image.new("RGB", (400, 400), "white")
    line.paste("black", (100, 100, 110, 300))
    data, spec = encoded(line, "PNG"), Spec(trim=True, fit="contain", width=100, format="jpeg")
    with pytest.raises(ReservationTooSmall) as asked:
        compress(data, [spec], LIMITS, reserved_pixels=160_000)
    assert asked.value.pixels == 160_000 + (100 * 2_000 + 100 * 200 - 160_000) // 2
    assert compress(data, [spec], LIMITS, reserved_pixels=asked.value.pixels).renditions[0].height == 2_000


def test_an_enlargement_that_takes_seconds_is_no_work_for_a_thread() -> None:
    spec = Spec(fit="pad", width=4_000, height=4_000, format="avif")
    with pytest.raises(TooSlowForThread):
        compress(DOT, [spec], LIMITS, may_take_long=False)
    several = [Spec(name=f"r{number}", fit="pad", width=6_300, height=6_300, format="jpeg") for number in range(3)]
    with pytest.raises(TooSlowForThread):
        compress(DOT, several, LIMITS, may_take_long=False, reserved_pixels=1)

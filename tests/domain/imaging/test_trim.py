"""Plain borders are found, and nothing else is taken for one."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageDraw

from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.domain.imaging.trim import content_of
from support.images import cut_out, decoded, distance, encoded, exif, pixel, quarters, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")
BOX = (120, 80, 280, 220)


def product(background: Any = "white", box: tuple[int, int, int, int] = BOX, mode: str = "RGB") -> Image.Image:
    """Return a product on a plain background of 400 × 300 pixels."""
    image = Image.new(mode, (400, 300), background)
    image.paste(scene(box[2] - box[0], box[3] - box[1]).convert(mode), box)
    return image


def rendition(data: bytes, **options: Any) -> Rendition:
    return compress(data, [Spec.model_validate({"trim": True, **options})], CodecLimits()).renditions[0]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("background", ["white", "black", "#808080"])
def test_a_plain_border_is_found_exactly(mode: str, background: str) -> None:
    colour = background if mode == "RGB" else {"white": 255, "black": 0, "#808080": 128}[background]
    assert content_of([product(colour, mode=mode)]) == BOX


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_transparent_border_is_found_whatever_its_colours_are(mode: str) -> None:
    image = scene(400, 300).convert(mode)
    alpha = Image.new("L", image.size)
    alpha.paste(255, BOX)
    image.putalpha(alpha)
    assert content_of([image]) == BOX


@pytest.mark.parametrize("quality", [30, 50, 75, 92])
@pytest.mark.parametrize("background", ["white", "#f4f1ea", "black"])
def test_jpeg_noise_keeps_at_most_its_block_of_the_border(quality: int, background: str) -> None:
    found = content_of([decoded(encoded(product(background), "JPEG", quality=quality))])
    assert found is not None
    assert all(abs(edge - expected) <= 16 for edge, expected in zip(found, BOX, strict=True))


def test_a_border_with_a_little_noise_is_plain_and_a_pale_product_is_not() -> None:
    noise = Image.effect_noise((400, 300), 3).point(lambda value: min(255, max(0, value + 120)))
    noisy = Image.merge("RGB", (noise, noise, noise)).point(lambda value: min(255, max(242, value)))
    noisy.paste("#e6e6e6", BOX)
    assert content_of([noisy]) == BOX


def striped(*colours: str) -> Image.Image:
    image = Image.new("RGB", (300, 300))
    for number, colour in enumerate(colours):
        image.paste(colour, (0, number * 100, 300, number * 100 + 100))
    return image


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: striped("red", "white", "blue"), id="flag"),
        pytest.param(lambda: product(box=(0, 100, 400, 300)), id="product up to two corners"),
        pytest.param(lambda: scene(400, 300), id="photo"),
    ],
)
def test_what_does_not_reach_all_four_corners_is_no_border(make: Callable[[], Image.Image]) -> None:
    image = make()
    assert content_of([image]) == (0, 0, *image.size)


@pytest.mark.parametrize("colour", ["white", "red"])
def test_an_image_of_one_colour_is_kept_whole(colour: str) -> None:
    image = Image.new("RGB", (60, 40), colour)
    assert content_of([image]) is None
    result = rendition(encoded(image, "PNG"), margin=10)
    assert (result.width, result.height) == (60, 40)


def test_frames_are_trimmed_alike_to_what_any_of_them_shows() -> None:
    frames = [product(box=(50, 100, 90, 140)), Image.new("RGB", (400, 300), "white"), product(box=(200, 20, 240, 60))]
    assert content_of(frames) == (50, 20, 240, 140)
    for image_format in ("GIF", "PNG", "WEBP"):
        lossless = {"lossless": True} if image_format == "WEBP" else {}
        data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100, **lossless)
        result = rendition(data)
        written = decoded(result.data)
        assert (result.width, result.height, getattr(written, "n_frames", 1)) == (190, 120, 3)


def test_an_upright_image_is_trimmed_as_it_is_seen() -> None:
    lying = product().transpose(Image.Transpose.ROTATE_90)  # a viewer turns it back
    result = rendition(encoded(lying, "PNG", exif=exif(orientation=6)))
    assert (result.width, result.height) == (160, 140)


def test_the_pixels_that_remain_are_those_of_the_image() -> None:
    image = Image.new("RGB", (400, 300), "white")
    image.paste(quarters(160, 140), BOX[:2])
    result = decoded(rendition(encoded(image, "PNG")).data)
    assert result.convert("RGB").tobytes() == quarters(160, 140).tobytes()


def test_a_border_that_is_not_there_lets_the_original_be_kept() -> None:
    data = encoded(scene(64, 48), "JPEG", quality=5)
    result = rendition(data, quality=95)
    assert (result.action, result.data) == ("kept_original", data)
    bordered = encoded(product(), "JPEG", quality=5)
    assert rendition(bordered, quality=95).action == "compressed"
    assert rendition(bordered, quality=95, fit="pad", width=400, height=300).action == "compressed"


def test_a_trimmed_thumbnail_is_made_from_all_pixels() -> None:
    """The product is a tenth of the image; decoded at an eighth of its size, it would be a blur."""
    full = Image.new("L", (4000, 3000), 255)
    fine = Image.new("L", (400, 300))
    for x in range(0, 400, 8):
        ImageDraw.Draw(fine).rectangle((x, 0, x + 3, 299), fill=200)
    full.paste(fine, (1800, 1300))
    small = decoded(rendition(encoded(full, "JPEG", quality=92), max_width=400).data)
    assert small.width == 400
    low, high = small.convert("L").crop((20, 20, 380, 280)).getextrema()
    assert float(high) - float(low) > 150  # type: ignore[arg-type]  # one band: two numbers


def test_a_cut_out_with_a_margin_stays_transparent_around() -> None:
    result = decoded(rendition(encoded(cut_out(400, 300), "PNG"), margin=10, format=Format.webp).data)
    assert pixel(result, (0, 0))[3] == 0
    assert pixel(result, (result.width // 2, result.height // 2))[3] == 255


def test_a_margin_has_the_background_colour() -> None:
    result = decoded(rendition(encoded(product("black"), "PNG"), margin=10, background="#0000ff").data)
    assert result.size == (200, 175)
    assert distance(pixel(result, (10, 8)), (0, 0, 255)) < 12
    assert distance(pixel(result, (21, 19)), pixel(product(), BOX[:2])) < 60

"""Palettes of PNG: which images get one, and that they look the same."""

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from imgsvc.domain.imaging.encode import encode
from imgsvc.domain.imaging.formats import PNG
from imgsvc.domain.imaging.palette_error import block_error
from imgsvc.domain.imaging.palettes import quantise
from support.images import cut_out, decoded, encoded, photograph, quarters, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference per channel, 0 to 255."""
    data = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA")).tobytes()
    return sum(data) / len(data)


def shaded() -> Image.Image:
    """Return a red ball with a soft shadow on a transparent background, like a product render."""
    shadow = Image.new("L", (600, 600))
    ImageDraw.Draw(shadow).ellipse((100, 380, 500, 520), fill=160)
    image = Image.new("RGBA", shadow.size)
    image.putalpha(shadow.filter(ImageFilter.GaussianBlur(30)))
    body = Image.linear_gradient("L").resize((300, 300)).convert("RGB")
    ball = Image.blend(body, Image.new("RGB", body.size, "red"), 0.6)
    image.paste(ball, (150, 60), mask=Image.radial_gradient("L").resize(ball.size).point([255] * 128 + [0] * 128))
    return image


def rainbow() -> Image.Image:
    """Return every hue and brightness, for which 256 colours are not enough."""
    across = Image.linear_gradient("L")
    return Image.merge("HSV", (across.rotate(90), Image.new("L", across.size, 255), across)).convert("RGB")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_drawing_with_few_colours_keeps_them_exactly(mode: str) -> None:
    drawing = quarters(90, 60).convert(mode)
    if mode.endswith("A"):
        drawing.putalpha(
            Image.linear_gradient("L").resize((90, 60), Image.Resampling.NEAREST).point(lambda a: a & 0xF0)
        )
    reduced = quantise(drawing, 50)
    assert reduced.mode == "P"
    assert difference(reduced, drawing) == 0


def test_a_photo_has_256_colours_and_hardly_looks_different() -> None:
    photo = photograph()
    reduced = quantise(photo, 50)
    assert len(reduced.getcolors(256) or []) > 200
    assert difference(reduced, photo) < 10, "grain of the dithering"
    assert difference(reduced.convert("RGB").reduce(4), photo.reduce(4)) < 1, (
        "blotches that are visible from a distance"
    )


@pytest.mark.parametrize("background", ["white", (244, 244, 242), "black"])
def test_the_background_of_a_product_keeps_its_exact_colour(background: str | tuple[int, int, int]) -> None:
    image = Image.new("RGB", (640, 480), background)
    image.paste(photograph(400, 300), (120, 90))
    image = Image.blend(image, image.filter(ImageFilter.GaussianBlur(9)), 0.8)  # many similar colours around it
    reduced = quantise(image, 50).convert("RGB")
    assert reduced.mode == "RGB"
    border = image.crop((0, 0, 640, 40)), reduced.crop((0, 0, 640, 40))
    assert border[0].getcolors() == border[1].getcolors()


@pytest.mark.parametrize("background", [(255, 255, 255), (250, 250, 248, 255), (0, 0, 0, 0)])
@pytest.mark.parametrize("quality", [20, 50])
def test_a_small_product_on_a_large_background_keeps_its_colours(background: tuple[int, ...], quality: int) -> None:
    image = Image.new("RGB" if len(background) == 3 else "RGBA", (1_600, 1_600), background)
    goods = photograph(96, 96).convert(image.mode)
    image.paste(goods, (1_304, 200))
    reduced = quantise(image, quality).convert(image.mode)
    assert block_error(reduced.crop((1_304, 200, 1_400, 296)), goods) <= 250 / quality
    assert reduced.getpixel((0, 0)) == background


def test_few_colours_on_a_very_long_image() -> None:
    line = Image.linear_gradient("L").resize((1, 60_000), Image.Resampling.NEAREST)
    reduced = quantise(line.convert("RGB"), 50)
    assert reduced.mode == "P"
    assert difference(reduced, line.convert("RGB")) == 0


@pytest.mark.parametrize("alpha", [(255,), (0, 128, 255, 255)])
def test_a_palette_has_alpha_only_for_transparent_entries(alpha: tuple[int, ...]) -> None:
    drawing = quarters(60, 40).convert("RGBA")
    drawing.putalpha(Image.frombytes("L", (len(alpha), 1), bytes(alpha)).resize((60, 40), Image.Resampling.NEAREST))
    written = decoded(encoded(quantise(drawing, 50), "PNG"))
    assert written.mode == "P"
    assert difference(written, drawing) == 0
    entries = written.info.get("transparency", b"")
    assert len(entries) == sum(colour[3] < 255 for _, colour in drawing.getcolors() or [])  # type: ignore[index]


def test_a_cut_out_keeps_its_soft_edge_and_its_colours() -> None:
    image = cut_out(400, 300)
    reduced = quantise(image, 50).convert("RGBA")
    shown = [Image.alpha_composite(Image.new("RGBA", image.size, "white"), each) for each in (image, reduced)]
    assert difference(*(each.reduce(4) for each in shown)) < 0.5
    assert difference(reduced.getchannel("A").convert("RGB"), image.getchannel("A").convert("RGB")) < 1
    assert set(reduced.getchannel("A").tobytes()) >= {0, 255}


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_a_soft_shadow_has_no_steps(quality: int) -> None:
    reduced = quantise(shaded(), quality)
    assert reduced.mode == "P"
    below = shaded().crop((0, 380, 600, 600)), reduced.convert("RGBA").crop((0, 380, 600, 600))
    assert block_error(*below) <= 3, "on white and on black"


def test_invisible_pixels_get_no_colours() -> None:
    hidden = cut_out(400, 300)
    visible = Image.composite(hidden, Image.new("RGBA", hidden.size), hidden.getchannel("A").point(lambda a: a and 255))
    loud = scene(400, 300).convert("RGBA")
    loud.putalpha(0)
    loud.paste(visible, mask=visible.getchannel("A").point(lambda a: a and 255))
    reduced, quiet = (quantise(image, 50).convert("RGBA") for image in (loud, visible))
    assert reduced.tobytes() == quiet.tobytes()


def test_a_lower_quality_has_fewer_colours() -> None:
    photo = photograph()
    counts = [len(quantise(photo, quality).getcolors(256) or []) for quality in (10, 25, 50)]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("image", [rainbow(), scene()])
def test_all_colours_are_kept_if_256_look_different(image: Image.Image) -> None:
    assert quantise(image, 50) is image
    assert difference(decoded(encode(image, PNG, quality=50, exif=b"")), image) == 0


def test_a_higher_quality_has_a_lower_tolerance() -> None:
    loud = scene()
    assert quantise(loud, 20).mode == "P"
    assert quantise(loud, 50) is loud


def test_a_low_quality_tries_256_colours_before_all() -> None:
    assert len(quantise(scene(), 30).getcolors(256) or []) > 200, "153 are too far off"


def test_all_colours_are_written_if_a_palette_is_larger() -> None:
    across, down = Image.linear_gradient("L").rotate(90), Image.linear_gradient("L")
    smooth = Image.merge("RGB", [across, down, across]).point(lambda value: 150 + value // 6)
    assert quantise(smooth, 50).mode == "P"
    written = decoded(encode(smooth, PNG, quality=50, exif=b""))
    assert written.mode == "RGB"
    assert difference(written, smooth) == 0

"""Few colours for PNG: which images get them, and that nothing is seen of it."""

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from imgsvc.domain.imaging.encode import encode
from imgsvc.domain.imaging.formats import PNG
from imgsvc.domain.imaging.palette_error import block_error
from imgsvc.domain.imaging.palettes import quantise
from support.images import cut_out, decoded, encoded, photograph, quarters, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference per channel, 0 to 255."""
    data = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA")).tobytes()
    return sum(data) / len(data)


def shaded() -> Image.Image:
    """A red ball and its soft shadow on nothing, as shops get them from their renderers."""
    shadow = Image.new("L", (600, 600))
    ImageDraw.Draw(shadow).ellipse((100, 380, 500, 520), fill=160)
    picture = Image.new("RGBA", shadow.size)
    picture.putalpha(shadow.filter(ImageFilter.GaussianBlur(30)))
    body = Image.linear_gradient("L").resize((300, 300)).convert("RGB")
    ball = Image.blend(body, Image.new("RGB", body.size, "red"), 0.6)
    picture.paste(ball, (150, 60), mask=Image.radial_gradient("L").resize(ball.size).point([255] * 128 + [0] * 128))
    return picture


def rainbow() -> Image.Image:
    """Every hue and brightness: what 256 colours cannot show."""
    across = Image.linear_gradient("L")
    return Image.merge("HSV", (across.rotate(90), Image.new("L", across.size, 255), across)).convert("RGB")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_drawing_with_few_colours_keeps_them_exactly(mode: str) -> None:
    drawing = quarters(90, 60).convert(mode)
    if mode.endswith("A"):
        drawing.putalpha(
            Image.linear_gradient("L").resize((90, 60), Image.Resampling.NEAREST).point(lambda a: a & 0xF0)
        )
    few = quantise(drawing, 50)
    assert few.mode == "P"
    assert difference(few, drawing) == 0


def test_a_photo_has_256_colours_and_hardly_looks_different() -> None:
    photo = photograph()
    few = quantise(photo, 50)
    assert len(few.getcolors(256) or []) > 200
    assert difference(few, photo) < 10, "grain of the dithering"
    assert difference(few.convert("RGB").reduce(4), photo.reduce(4)) < 1, "blotches that stay from farther away"


@pytest.mark.parametrize("ground", ["white", (244, 244, 242), "black"])
def test_the_plain_ground_around_a_product_keeps_its_very_colour(ground: str | tuple[int, int, int]) -> None:
    picture = Image.new("RGB", (640, 480), ground)
    picture.paste(photograph(400, 300), (120, 90))
    picture = Image.blend(picture, picture.filter(ImageFilter.GaussianBlur(9)), 0.8)  # many near colours around it
    few = quantise(picture, 50).convert("RGB")
    assert few.mode == "RGB"
    border = picture.crop((0, 0, 640, 40)), few.crop((0, 0, 640, 40))
    assert border[0].getcolors() == border[1].getcolors()


@pytest.mark.parametrize("ground", [(255, 255, 255), (250, 250, 248, 255), (0, 0, 0, 0)])
@pytest.mark.parametrize("quality", [20, 50])
def test_something_small_on_a_large_plain_ground_has_its_colours_too(ground: tuple[int, ...], quality: int) -> None:
    picture = Image.new("RGB" if len(ground) == 3 else "RGBA", (1_600, 1_600), ground)
    goods = photograph(96, 96).convert(picture.mode)
    picture.paste(goods, (1_304, 200))
    few = quantise(picture, quality).convert(picture.mode)
    assert block_error(few.crop((1_304, 200, 1_400, 296)), goods) <= 250 / quality
    assert few.getpixel((0, 0)) == ground


def test_few_colours_on_a_very_long_image() -> None:
    line = Image.linear_gradient("L").resize((1, 60_000), Image.Resampling.NEAREST)
    few = quantise(line.convert("RGB"), 50)
    assert few.mode == "P"
    assert difference(few, line.convert("RGB")) == 0


@pytest.mark.parametrize("alpha", [(255,), (0, 128, 255, 255)])
def test_a_palette_says_nothing_of_alpha_where_all_is_opaque(alpha: tuple[int, ...]) -> None:
    drawing = quarters(60, 40).convert("RGBA")
    drawing.putalpha(Image.frombytes("L", (len(alpha), 1), bytes(alpha)).resize((60, 40), Image.Resampling.NEAREST))
    written = decoded(encoded(quantise(drawing, 50), "PNG"))
    assert written.mode == "P"
    assert difference(written, drawing) == 0
    said = written.info.get("transparency", b"")
    assert len(said) == sum(colour[3] < 255 for _, colour in drawing.getcolors() or [])  # type: ignore[index]


def test_a_cut_out_keeps_its_soft_edge_and_its_colours() -> None:
    picture = cut_out(400, 300)
    few = quantise(picture, 50).convert("RGBA")
    shown = [Image.alpha_composite(Image.new("RGBA", picture.size, "white"), image) for image in (picture, few)]
    assert difference(*(image.reduce(4) for image in shown)) < 0.5
    assert difference(few.getchannel("A").convert("RGB"), picture.getchannel("A").convert("RGB")) < 1
    assert set(few.getchannel("A").tobytes()) >= {0, 255}


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_a_soft_shadow_has_no_steps(quality: int) -> None:
    few = quantise(shaded(), quality)
    assert few.mode == "P"
    below = shaded().crop((0, 380, 600, 600)), few.convert("RGBA").crop((0, 380, 600, 600))
    assert block_error(*below) <= 3, "on white and on black"


def test_what_nobody_sees_gets_no_colours() -> None:
    hidden = cut_out(400, 300)
    visible = Image.composite(hidden, Image.new("RGBA", hidden.size), hidden.getchannel("A").point(lambda a: a and 255))
    loud = scene(400, 300).convert("RGBA")
    loud.putalpha(0)
    loud.paste(visible, mask=visible.getchannel("A").point(lambda a: a and 255))
    few, quiet = (quantise(picture, 50).convert("RGBA") for picture in (loud, visible))
    assert few.tobytes() == quiet.tobytes()


def test_a_lower_quality_has_fewer_colours() -> None:
    photo = photograph()
    counts = [len(quantise(photo, quality).getcolors(256) or []) for quality in (10, 25, 50)]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("picture", [rainbow(), scene()])
def test_all_colours_stay_where_256_would_show(picture: Image.Image) -> None:
    assert quantise(picture, 50) is picture
    assert difference(decoded(encode(picture, PNG, quality=50, exif=b"")), picture) == 0


def test_a_high_quality_is_harder_to_please() -> None:
    loud = scene()
    assert quantise(loud, 20).mode == "P"
    assert quantise(loud, 50) is loud


def test_a_low_quality_takes_more_colours_before_it_takes_all() -> None:
    assert len(quantise(scene(), 30).getcolors(256) or []) > 200, "153 are off too far"


def test_all_colours_are_written_where_few_would_weigh_more() -> None:
    across, down = Image.linear_gradient("L").rotate(90), Image.linear_gradient("L")
    smooth = Image.merge("RGB", [across, down, across]).point(lambda value: 150 + value // 6)
    assert quantise(smooth, 50).mode == "P"
    written = decoded(encode(smooth, PNG, quality=50, exif=b""))
    assert written.mode == "RGB"
    assert difference(written, smooth) == 0

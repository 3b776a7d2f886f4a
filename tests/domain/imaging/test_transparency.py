"""Transparency looks the same before and after, on any background."""

from statistics import fmean

import pytest
from PIL import Image, ImageChops, ImageStat

from imgsvc.domain.imaging.compress import CodecLimits, compress
from imgsvc.domain.imaging.spec import Format, Spec
from support.images import cut_out, decoded, encoded, quarters

pytestmark = pytest.mark.usefixtures("prepared_pillow")

SOFT = cut_out(96, 64)
KEYED = quarters(96, 64).quantize(8)
SHADED = quarters(96, 64).quantize(4)
SOURCES = {
    "rgba.png": encoded(SOFT, "PNG"),
    "rgba.webp": encoded(SOFT, "WEBP", quality=95),
    "rgba.avif": encoded(SOFT, "AVIF", quality=95),
    "rgba.tiff": encoded(SOFT, "TIFF"),
    "rgba.ico": encoded(SOFT.resize((64, 64)), "ICO", sizes=[(64, 64), (16, 16)]),
    "rgba.jp2": encoded(SOFT, "JPEG2000"),
    "grey.png": encoded(SOFT.convert("LA"), "PNG"),
    "one colour of a palette.png": encoded(KEYED, "PNG", transparency=KEYED.getpixel((1, 1))),
    "shades of a palette.png": encoded(SHADED, "PNG", transparency=bytes((0, 80, 160, 255))),
    "one colour.png": encoded(quarters(96, 64), "PNG", transparency=(255, 0, 0)),
    "palette.gif": encoded(KEYED, "GIF", transparency=KEYED.getpixel((1, 1))),
}


def on_background(image: Image.Image, background: str) -> Image.Image:
    plain = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", plain.size, background), plain).convert("RGB")


@pytest.mark.parametrize("background", ["white", "black"])
@pytest.mark.parametrize("wanted", [Format.original, Format.png, Format.webp, Format.avif])
@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES)
def test_transparency_looks_the_same_on_white_and_on_black(data: bytes, wanted: Format, background: str) -> None:
    [rendition] = compress(data, [Spec(format=wanted, quality=90)], CodecLimits()).renditions
    before, after = (on_background(decoded(each), background) for each in (data, rendition.data))
    assert fmean(ImageStat.Stat(ImageChops.difference(before, after)).mean) < 6

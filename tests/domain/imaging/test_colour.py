"""Colour conversion: CMYK, wide profiles, 16-bit grey, gamma."""

import math
import os
import struct

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from imgsvc.domain.imaging.colour import make_transform, transform_cache
from imgsvc.domain.imaging.compress import CodecLimits, compress
from imgsvc.domain.imaging.icc_transforms import TransformCache
from imgsvc.domain.imaging.spec import Format, Spec
from support.images import (
    BLUE,
    RED,
    cmyk_jpeg,
    decoded,
    distance,
    encoded,
    grey16_png,
    grey_profile,
    ink_profile,
    pixel,
    quarters,
    wide_gamut_profile,
)

pytestmark = pytest.mark.usefixtures("prepared_pillow")


def written(data: bytes, spec: Spec | None = None) -> Image.Image:
    return decoded(compress(data, [spec or Spec(quality=95)], CodecLimits()).renditions[0].data)


@pytest.mark.parametrize(
    ("inks", "seen"),
    [((0, 255, 255, 0), (255, 0, 0)), ((255, 255, 0, 0), (0, 0, 255)), ((0, 0, 0, 0), (255, 255, 255))],
)
def test_cmyk_is_converted_to_the_colours_of_the_print(inks: tuple[int, int, int, int], seen: tuple[int, ...]) -> None:
    image_written = written(cmyk_jpeg(inks))
    assert image_written.mode == "RGB"
    assert distance(pixel(image_written, (9, 9)), seen) < 40


def test_a_cmyk_original_is_never_kept() -> None:
    image = Image.new("CMYK", (640, 480), (0, 255, 255, 0))
    result = compress(encoded(image, "JPEG", quality=1), [Spec(quality=95)], CodecLimits()).renditions[0]
    assert result.action == "compressed"


PAPER, BLACK = (100.0, 0.0, 0.0), (0.0, 0.0, 0.0)  # of a page: perceptual intents map any paper to it
INKS = {  # cyan, magenta, yellow, counting up; all within the gamut of sRGB
    (0, 0, 0): PAPER,
    (0, 0, 1): (88.0, -5.0, 70.0),
    (0, 1, 0): (52.0, 60.0, 0.0),
    (0, 1, 1): (50.0, 55.0, 40.0),
    (1, 0, 0): (60.0, -22.0, -30.0),
    (1, 0, 1): (50.0, -40.0, 25.0),
    (1, 1, 0): (35.0, 20.0, -45.0),
    (1, 1, 1): (25.0, 0.0, 0.0),
}


def lab(colour: tuple[int, ...]) -> tuple[float, float, float]:
    """Return a colour in sRGB as CIE Lab, D50 (IEC 61966-2-1, adapted by Bradford)."""
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour[:3])]
    rows = (0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733)
    x, y, z = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in (
            sum(part * weight for part, weight in zip(light, row, strict=True)) / white
            for row, white in zip(rows, (0.96422, 1.0, 0.82521), strict=True)
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
@pytest.mark.parametrize("inks", INKS)
def test_inks_are_converted_by_their_profile(inks: tuple[int, int, int], image_format: str) -> None:
    profile = ink_profile([ink for each in INKS for ink in (INKS[each], BLACK)])
    options = {"quality": 100} if image_format == "JPEG" else {}
    image = Image.new("CMYK", (32, 32), (*(255 * ink for ink in inks), 0))
    image_written = written(encoded(image, image_format, icc_profile=profile, **options), Spec(format=Format.png))
    assert math.dist(lab(pixel(image_written, (9, 9))), INKS[inks]) < 3, "ΔE"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_wide_profile_is_applied_and_removed(image_format: str) -> None:
    data = encoded(Image.new("RGB", (32, 32), RED), image_format, icc_profile=wide_gamut_profile())
    image_written = written(data)
    assert distance(pixel(image_written, (9, 9)), BLUE) < 30, "the profile of the test swaps red and blue"
    assert "icc_profile" not in image_written.info


def test_a_wide_profile_is_applied_to_palettes_and_under_alpha() -> None:
    palette = encoded(Image.new("RGB", (32, 32), RED).quantize(2), "PNG", icc_profile=wide_gamut_profile())
    assert distance(pixel(written(palette), (9, 9)), BLUE) < 30
    image = Image.new("RGBA", (32, 32), (*RED, 100))
    assert distance(pixel(written(encoded(image, "PNG", icc_profile=wide_gamut_profile())), (9, 9)), (*BLUE, 100)) < 30


def test_an_srgb_profile_changes_no_colour() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    srgb = srgb.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))  # its name must not matter
    data = encoded(Image.new("RGB", (32, 32), RED).quantize(2), "PNG", icc_profile=srgb)
    assert pixel(written(data), (9, 9)) == RED


@pytest.mark.parametrize("profile", [b"junk", b"\0" * 200, wide_gamut_profile()[:140]])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    assert distance(pixel(written(encoded(quarters(), "JPEG", icc_profile=profile)), (9, 9)), RED) < 30


def test_grey_stays_grey() -> None:
    grey = Image.linear_gradient("L")
    assert written(encoded(grey, "JPEG")).mode == "L"
    assert written(encoded(grey, "JPEG", icc_profile=wide_gamut_profile())).mode == "L"


@pytest.mark.parametrize(("mode", "wanted"), [("L", Format.jpeg), ("LA", Format.png), ("LA", Format.webp)])
def test_grey_of_another_gamma_keeps_its_brightness(mode: str, wanted: Format) -> None:
    """Middle grey of gamma 1 has half the light of white, which is 188 in sRGB."""
    image = Image.new("L", (32, 32), 128).convert(mode)
    if mode == "LA":
        image.putalpha(100)
    data = encoded(image, "PNG", icc_profile=grey_profile(1.0))
    assert distance(pixel(written(data, Spec(format=wanted, quality=95)), (9, 9)), (188, 188, 188, 100)) <= 4


@pytest.mark.parametrize("chunks", [(), ("sRGB",)], ids=["gAMA alone", "with sRGB"])
@pytest.mark.parametrize("gamma", [1.0, 0.45455, 0.0])
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_a_png_is_as_bright_as_its_gamma_chunk_defines(mode: str, gamma: float, chunks: tuple[str, ...]) -> None:
    """A value of 51 with gamma 1 has a fifth of the light of white: 123 on a screen of 2.2."""
    image = Image.new("RGB", (32, 32), (51, 51, 51)).convert(mode)
    data = encoded(
        image, "PNG", pnginfo=png_info(gAMA=struct.pack(">I", round(gamma * 100_000)), **dict.fromkeys(chunks, b"\0"))
    )
    expected = 123 if gamma == 1.0 and not chunks else 51
    seen = pixel(written(data, Spec(format=Format.webp, quality=95)), (9, 9))
    assert distance(seen, (expected,) * 3) <= 2
    assert seen[3:] in {(), (255,)}


def png_info(**chunks: bytes) -> PngInfo:
    info = PngInfo()
    for name, content in chunks.items():
        info.add(name.encode(), content)
    return info


def test_grey_with_a_profile_that_changes_it_is_never_kept() -> None:
    data = encoded(Image.linear_gradient("L"), "JPEG", quality=5)
    tagged = encoded(Image.linear_gradient("L"), "JPEG", quality=5, icc_profile=grey_profile(1.8))
    actions = [compress(each, [Spec(quality=95)], CodecLimits()).renditions[0].action for each in (data, tagged)]
    assert actions == ["kept_original", "compressed"]


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    image_written = written(grey16_png((0, 16_384, 32_768, 65_535)), Spec(format=Format.png))
    assert [pixel(image_written, (x, 9))[0] for x in (10, 30, 50, 70)] == [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("mode", "values"), [("I", (0, 32_768, 65_535)), ("F", (0.0, 0.5, 1.0)), ("F", (-1000.0, 0.0, 1000.0))]
)
def test_scientific_tiffs_are_scaled_to_visible_grey(mode: str, values: tuple[float, ...]) -> None:
    image = Image.new(mode, (60, 20))
    for index, value in enumerate(values):
        image.paste(value if mode == "F" else int(value), (index * 20, 0, index * 20 + 20, 20))
    image_written = written(encoded(image, "TIFF"), Spec(format=Format.png))
    seen = [pixel(image_written, (x, 9))[0] for x in (10, 30, 50)]
    assert distance(tuple(seen), (0, 127, 255)) <= 1


def test_a_transparent_shade_of_16_bit_grey_stays_transparent() -> None:
    image = decoded(grey16_png())
    image_written = written(encoded(image, "PNG", transparency=16_384)).convert("RGBA")
    assert [pixel(image_written, (x, 9))[3] for x in (10, 30, 50)] == [255, 0, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_of_a_tiff_can_be_converted(mode: str) -> None:
    image = Image.new(mode, (40, 30)) if mode in {"LAB", "I;16"} else quarters(40, 30).convert("L").convert(mode)
    if mode not in {"I", "F", "I;16", "LAB", "1", "L", "LA"}:
        image = quarters(40, 30).convert("RGBA" if mode == "PA" else "RGB").convert(mode)
    for wanted in (Format.jpeg, Format.png, Format.webp):
        assert written(encoded(image, "TIFF"), Spec(format=wanted)).size == (40, 30)


# -- profiles of any size ---------------------------------------------------------------------------------------------


def padded(profile: bytes, size: int) -> bytes:
    """Return the profile with `size` bytes: the additional ones belong to no tag, and its header counts them."""
    longer = profile + os.urandom(size - len(profile))
    return struct.pack(">I", len(longer)) + longer[4:]


@pytest.mark.parametrize(("size", "swapped"), [(4 * 2**20, True), (4 * 2**20 + 1, False), (15 * 2**20, False)])
@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "PNG"])
def test_a_profile_over_4_mib_is_ignored(image_format: str, size: int, swapped: bool) -> None:
    red = Image.new("RGB", (64, 48), RED)
    data = encoded(red, image_format, quality=95, icc_profile=padded(wide_gamut_profile(), size))
    assert distance(pixel(written(data), (9, 9)), BLUE if swapped else RED) < 60


def test_cached_conversions_have_a_limit_in_bytes() -> None:
    made: list[bytes] = []

    def make(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
        made.append(icc)
        return make_transform(icc, mode) or pytest.fail("the profile changes colours")

    cache = TransformCache(make, max_bytes=5_000_000)
    profiles = [padded(wide_gamut_profile(), 1_000_000) for _ in range(20)]
    for profile in profiles:
        assert cache.get(profile, "RGB")
        assert cache.bytes <= 5_000_000
    assert len(made) == 20
    assert cache.get(profiles[-1], "RGB") is cache.get(profiles[-1], "RGB")
    assert len(made) == 20, "the most recently used are kept"
    cache.get(profiles[0], "RGB")
    assert len(made) == 21


def test_a_conversion_larger_than_the_cache_is_made_each_time() -> None:
    cache = TransformCache(make_transform, max_bytes=1_000)
    assert cache.get(wide_gamut_profile(), "RGB")
    assert cache.bytes == 0


def test_the_cache_stays_small_over_a_catalogue() -> None:
    for _ in range(12):
        profile = padded(wide_gamut_profile(), 2 * 2**20)
        written(encoded(Image.new("RGB", (8, 8), RED), "JPEG", icc_profile=profile))
    assert 0 < transform_cache.bytes <= 16 * 2**20

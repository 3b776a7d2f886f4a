"""Whatever a file holds (CMYK, Lab, palettes, 16 bits, wide profiles) to plain 8-bit L, LA, RGB or RGBA in sRGB."""

from collections.abc import Mapping
from io import BytesIO
from itertools import chain, product
from typing import Any

from PIL import Image, ImageChops, ImageCms

from imgsvc.domain.imaging.decode import MAX_PROFILE_BYTES, READING_FAILURES
from imgsvc.domain.imaging.icc_transforms import TransformCache

# Modes that only a conversion shows rightly; the others a browser shows as they are.
FOREIGN_MODES = frozenset({"CMYK", "LAB", "YCbCr", "HSV"})
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

UNSEEN = 3
"""How far, of 255, a channel may be off by rounding before a profile counts as one that changes colours."""
SCREEN, USUAL = 2.2, 0.05
"""A screen's exponent, and how far from it a file's may be without a word: they say 0.45455, 0.4545 and 0.45."""
_CUBE = bytes(chain.from_iterable(product(range(0, 256, 51), repeat=3)))
SAMPLES = {
    "L": Image.frombytes("L", (256, 1), bytes(range(256))),
    "RGB": Image.frombytes("RGB", (216, 1), _CUBE),
    "RGBA": Image.frombytes("RGB", (216, 1), _CUBE).convert("RGBA"),
}


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep grey down; a plain `convert` would clip it at 255 and turn all but the darkest parts white."""
    if image.mode.startswith("I;16"):
        return _high_bytes(image)
    if image.mode in {"I", "F"}:
        return _scaled_down(image)
    return image


def _high_bytes(image: Image.Image) -> Image.Image:
    """Of the two bytes of each value the high one, as Pillow does itself for 16-bit RGB."""
    first, second = Image.frombytes("LA", image.size, image.tobytes()).split()
    grey = first if image.mode == "I;16B" else second
    if isinstance(key := image.info.get("transparency"), int):
        grey.info["transparency"] = key >> 8
    return grey


def _scaled_down(image: Image.Image) -> Image.Image:
    """What full white is, a 32-bit file does not say: the next usual ceiling, else the brightest value there is."""
    low, high = (float(extreme) for extreme in image.getextrema())  # type: ignore[arg-type] # one band: two numbers
    ceiling = next((top for top in (1.0, 255.0, 65535.0) if high <= top), None) if low >= 0 else None
    floor, span = (0.0, ceiling) if ceiling else (low, (high - low) or 1.0)
    scale, offset = 255 / span, -floor * 255 / span
    return image.point(lambda value: value * scale + offset).convert("L")


def to_plain_mode(image: Image.Image) -> Image.Image:
    """Palettes, single bits, premultiplied alpha and colour keys to L, LA, RGB or RGBA; foreign modes stay."""
    if image.mode in FOREIGN_MODES | {"LA", "RGBA"}:
        return image
    plain = "L" if image.mode in {"1", "L", "La"} else "RGB"
    if image.has_transparency_data:
        plain = "LA" if plain == "L" else "RGBA"
    return image if image.mode == plain else image.convert(plain)


def profile_of(info: Mapping[str | tuple[int, int], Any]) -> bytes | None:
    """Return the ICC profile that an image was read with, unless it is too long to be one."""
    icc = info.get("icc_profile")
    return icc if icc and len(icc) <= MAX_PROFILE_BYTES else None


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert by the embedded profile if it says anything new; grey stays grey, a broken profile is ignored."""
    if icc and (transform := _transforms.get(icc, image.mode[0] if image.mode in {"L", "LA"} else image.mode)):
        return _grey_by(transform, image) if image.mode in {"L", "LA"} else transform.apply(image)
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB").apply(image)
    return image.convert("RGB") if image.mode in FOREIGN_MODES else image


def _grey_by(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    """By way of RGB: Pillow knows no grey profile to convert to."""
    grey = transform.apply(image.getchannel(0)).convert("L")
    return Image.merge("LA", (grey, image.getchannel("A"))) if image.mode == "LA" else grey


def changes_colour(mode: str, icc: bytes | None) -> bool:
    """Whether `to_srgb` makes other pixels of an image that was read in `mode`."""
    if mode in FOREIGN_MODES:
        return True
    return bool(icc) and _transforms.get(icc or b"", "L" if mode in GREY_MODES else "RGB") is not None


def as_bright(image: Image.Image, gamma: object) -> Image.Image:
    """As bright as the gAMA chunk of a PNG means it on a screen of 2.2, which is how browsers show it (PNG, 13.13)."""
    if not isinstance(gamma, float) or gamma <= 0 or abs(gamma * SCREEN - 1) < USUAL:
        return image
    exponent = 1 / (gamma * SCREEN)
    table = [round(255 * (value / 255) ** exponent) for value in range(256)]
    alpha = list(range(256)) if image.mode in {"LA", "RGBA"} else []
    return image.point(table * (len(image.getbands()) - bool(alpha)) + alpha)


def drop_unused_alpha(image: Image.Image) -> Image.Image:
    """Alpha that hides nothing only costs bytes, and would turn a photo into a PNG where JPEG is meant."""
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    return image


def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where the profile is broken, is for another mode, or makes nothing but what is there already."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        transform = ImageCms.ImageCmsTransform(profile, _srgb(), mode, "RGBA" if mode == "RGBA" else "RGB")
        return None if mode in SAMPLES and _changes_nothing(transform, SAMPLES[mode]) else transform
    except (ImageCms.PyCMSError, *READING_FAILURES):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, sample: Image.Image) -> bool:
    """sRGB comes under many names, and other profiles under its name: what counts is what they do."""
    difference = ImageChops.difference(transform.apply(sample).convert("RGB"), sample.convert("RGB"))
    return max(difference.tobytes()) <= UNSEEN


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


_transforms = TransformCache(_transform)
"""Kept, because the images of a catalogue share their profiles and a CMYK one takes milliseconds to prepare."""

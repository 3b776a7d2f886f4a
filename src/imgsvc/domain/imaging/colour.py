"""Colour conversion: CMYK, Lab, palettes, 16 bits and wide profiles to 8-bit L, LA, RGB or RGBA in sRGB."""

from collections.abc import Mapping
from io import BytesIO
from itertools import chain, product
from typing import Any

from PIL import Image, ImageChops, ImageCms

from imgsvc.domain.imaging.decode import MAX_PROFILE_BYTES, READING_FAILURES
from imgsvc.domain.imaging.icc_transforms import TransformCache

# Modes that must be converted; browsers show the others correctly.
FOREIGN_MODES = frozenset({"CMYK", "LAB", "YCbCr", "HSV"})
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

MAX_ROUNDING_ERROR = 3
"""Largest change of a channel (0 to 255) for which a profile counts as one that changes no colours."""
SCREEN_GAMMA, GAMMA_TOLERANCE = 2.2, 0.05
"""A screen's exponent, and the deviation from it that is ignored: files contain 0.45455, 0.4545 and 0.45."""
_COLOUR_CUBE = bytes(chain.from_iterable(product(range(0, 256, 51), repeat=3)))
SAMPLES = {
    "L": Image.frombytes("L", (256, 1), bytes(range(256))),
    "RGB": Image.frombytes("RGB", (216, 1), _COLOUR_CUBE),
    "RGBA": Image.frombytes("RGB", (216, 1), _COLOUR_CUBE).convert("RGBA"),
}


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 or 32 bits to 8; Pillow's `convert` would clip at 255 and turn nearly everything white."""
    if image.mode.startswith("I;16"):
        return _high_bytes(image)
    if image.mode in {"I", "F"}:
        return _scaled_to_eight_bits(image)
    return image


def _high_bytes(image: Image.Image) -> Image.Image:
    """Return the high byte of each value, as Pillow does itself for 16-bit RGB."""
    first, second = Image.frombytes("LA", image.size, image.tobytes()).split()
    grey = first if image.mode == "I;16B" else second
    if isinstance(key := image.info.get("transparency"), int):
        grey.info["transparency"] = key >> 8
    return grey


def _scaled_to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale by the next common white level (1, 255, 65,535) or the extremes: 32-bit files do not define white."""
    low, high = (float(extreme) for extreme in image.getextrema())  # type: ignore[arg-type] # one band: two numbers
    ceiling = next((top for top in (1.0, 255.0, 65535.0) if high <= top), None) if low >= 0 else None
    floor, span = (0.0, ceiling) if ceiling else (low, (high - low) or 1.0)
    scale, offset = 255 / span, -floor * 255 / span
    return image.point(lambda value: value * scale + offset).convert("L")


def to_plain_mode(image: Image.Image) -> Image.Image:
    """Convert palettes, single bits, premultiplied alpha and colour keys to L, LA, RGB or RGBA; keep foreign modes."""
    if image.mode in FOREIGN_MODES | {"LA", "RGBA"}:
        return image
    plain = "L" if image.mode in {"1", "L", "La"} else "RGB"
    if image.has_transparency_data:
        plain = "LA" if plain == "L" else "RGBA"
    return image if image.mode == plain else image.convert(plain)


def usable_profile(info: Mapping[str | tuple[int, int], Any]) -> bytes | None:
    """Return the ICC profile of an image, None if it has none or one that is longer than any real profile."""
    icc = info.get("icc_profile")
    return icc if icc and len(icc) <= MAX_PROFILE_BYTES else None


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert by the embedded profile if it changes colours; grey stays grey, a broken profile is ignored."""
    if icc and (transform := transform_cache.get(icc, image.mode[0] if image.mode in {"L", "LA"} else image.mode)):
        return _convert_grey(transform, image) if image.mode in {"L", "LA"} else transform.apply(image)
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB").apply(image)
    return image.convert("RGB") if image.mode in FOREIGN_MODES else image


def _convert_grey(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    """Convert grey through RGB: Pillow has no grey profile to convert to."""
    grey = transform.apply(image.getchannel(0)).convert("L")
    return Image.merge("LA", (grey, image.getchannel("A"))) if image.mode == "LA" else grey


def changes_colour(mode: str, icc: bytes | None) -> bool:
    """Return whether `to_srgb` changes the pixels of an image that was read in `mode`."""
    if mode in FOREIGN_MODES:
        return True
    return bool(icc) and transform_cache.get(icc or b"", "L" if mode in GREY_MODES else "RGB") is not None


def apply_gamma(image: Image.Image, gamma: object) -> Image.Image:
    """Apply the gAMA chunk of a PNG for a screen of 2.2, as browsers do (PNG, 13.13)."""
    if not isinstance(gamma, float) or gamma <= 0 or abs(gamma * SCREEN_GAMMA - 1) < GAMMA_TOLERANCE:
        return image
    exponent = 1 / (gamma * SCREEN_GAMMA)
    table = [round(255 * (value / 255) ** exponent) for value in range(256)]
    alpha = list(range(256)) if image.mode in {"LA", "RGBA"} else []
    return image.point(table * (len(image.getbands()) - bool(alpha)) + alpha)


def drop_unused_alpha(image: Image.Image) -> Image.Image:
    """Remove alpha that is opaque everywhere: it costs bytes, and a photo would become a PNG instead of a JPEG."""
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    return image


def make_transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion, None if the profile is broken, is for another mode, or changes nothing."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        transform = ImageCms.ImageCmsTransform(profile, _srgb(), mode, "RGBA" if mode == "RGBA" else "RGB")
        return None if mode in SAMPLES and _changes_nothing(transform, SAMPLES[mode]) else transform
    except (ImageCms.PyCMSError, *READING_FAILURES):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, sample: Image.Image) -> bool:
    """Return whether `transform` keeps the colours of `sample`; a profile's name does not prove that it is sRGB."""
    difference = ImageChops.difference(transform.apply(sample).convert("RGB"), sample.convert("RGB"))
    return max(difference.tobytes()) <= MAX_ROUNDING_ERROR


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


transform_cache = TransformCache(make_transform)
"""Cached, because the images of a catalogue share their profiles, and a CMYK profile takes milliseconds to prepare."""

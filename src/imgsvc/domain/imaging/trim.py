"""Finds the content of an image, which is what a plain border surrounds."""

from collections.abc import Iterable

from PIL import Image

from imgsvc.domain.imaging.shape import Box

TOLERANCE = 10
"""Largest difference of a channel (0 to 255) from the colour of the border.

Far from an edge, a plain colour survives JPEG exactly. Within 16 pixels of an edge its noise exceeds any tolerance that
would spare pale products and shadows; some of those pixels are then kept (docs/compression.md).
"""
PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}
"""Modes in which all transparent pixels are equal."""


def content_of(frames: Iterable[Image.Image]) -> Box | None:
    """Return the box of all that is not a plain border in every frame (L, LA, RGB, RGBA); None if nothing is.

    A border has one colour, or is transparent, up to all four corners: a sky, or one stripe of a flag, is no border.
    """
    content: Box | None = None
    for image in frames:
        box = _content(image)
        if box:
            content = box if content is None else _union(content, box)
        if content == (0, 0, *image.size):
            break
    return content


def _content(image: Image.Image) -> Box | None:
    flat = image.convert(PREMULTIPLIED[image.mode]) if image.mode in PREMULTIPLIED else image
    right, bottom = flat.width - 1, flat.height - 1
    border, *others = (_channels(flat, at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom)))
    if any(abs(a - b) > TOLERANCE for corner in others for a, b in zip(border, corner, strict=True)):
        return (0, 0, *flat.size)
    differs = [0 if abs(value - channel) <= TOLERANCE else 255 for channel in border for value in range(256)]
    return flat.point(differs).getbbox(alpha_only=False)


def _channels(image: Image.Image, at: tuple[int, int]) -> tuple[float, ...]:
    value = image.getpixel(at)
    return value if isinstance(value, tuple) else (value or 0,)


def _union(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])

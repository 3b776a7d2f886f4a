"""The visible difference between two images, averaged over blocks of pixels, so that dither does not count."""

from PIL import Image, ImageChops

Box = tuple[int, int, int, int]

BLOCK = 8
"""Side of a block in pixels: dither averages out within a block, a step in a shadow does not."""
BACKGROUNDS = ("white", "black")
IGNORED_SHARE = 0.01
"""Share of the blocks to ignore, the worst ones; blocks of plain background do not count."""
BACKGROUND_TOLERANCE = 2
"""Largest difference from the most common colour, in each channel (0 to 255), for a block of plain background."""


def block_error(one: Image.Image, other: Image.Image) -> int:
    """Return the largest difference of a block (0 to 255), on white and on black; the worst hundredth is ignored.

    Both images have the same size and any mode with or without alpha. Blocks of plain background in `one` do not count
    towards the hundredth, so a ring on a large white background is compared as closely as one that fills the image.
    """
    small = [_blocks(image) for image in (one, other)]
    return max(_block_error(*(_on(background, image) for image in small)) for background in BACKGROUNDS)


def subject_box(image: Image.Image) -> Box:
    """Return the box around everything but the plain background, in whole blocks: a palette needs its colours."""
    small = _blocks(image)
    box = (_subject_mask(small.convert("RGB")) if image.mode == "RGB" else small.getchannel("A")).getbbox()
    left, top, right, bottom = box or (0, 0, *image.size)
    return left * BLOCK, top * BLOCK, min(right * BLOCK, image.width), min(bottom * BLOCK, image.height)


def _subject_mask(image: Image.Image) -> Image.Image:
    """Return a mask (L) of the pixels of `image` (RGB) that are not close to its most common colour."""
    _, most_common = max(image.getcolors(image.width * image.height) or [])
    background = Image.new("RGB", image.size, most_common)  # type: ignore[arg-type]  # RGB: three numbers
    near, far = BACKGROUND_TOLERANCE + 1, 255 - BACKGROUND_TOLERANCE
    return _largest_difference(image, background).point([0] * near + [255] * far)


def _blocks(image: Image.Image) -> Image.Image:
    """Return an image (RGBA) with one pixel per block."""
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(BLOCK).convert("RGBA")


def _on(background: str, image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")


def _block_error(one: Image.Image, other: Image.Image) -> int:
    blocks = _largest_difference(one, other).histogram()
    ignored = _subject_mask(one).histogram()[255] * IGNORED_SHARE
    worst = 255
    while worst and sum(blocks[worst:]) <= ignored:
        worst -= 1
    return worst


def _largest_difference(one: Image.Image, other: Image.Image) -> Image.Image:
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)

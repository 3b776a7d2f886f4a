"""How far an image is from another one for an eye that sees no single pixels, so that dither does not count."""

from PIL import Image, ImageChops

Box = tuple[int, int, int, int]

BLOCK = 8
"""Pixels a side that the eye takes together: the dither of a palette is even within them, a step in a shadow is not."""
GROUNDS = ("white", "black")
WORST = 0.01
"""Of the blocks that show something, those that may be off by more than the answer."""
PLAIN = 2
"""How far, of 255 and in each channel, a block may be from the commonest colour and still be the plain ground."""


def block_error(one: Image.Image, other: Image.Image) -> int:
    """Of 255: what all but the worst hundredth of the blocks differ by at most, on white and on black alike.

    Both are of one size and of any mode with or without alpha. Blocks of the plain ground of `one` do not count into
    the hundredth: a ring on a large white ground is looked at as closely as one that fills the image.
    """
    small = [_reduced(image) for image in (one, other)]
    return max(_block_error(*(_on(ground, image) for image in small)) for ground in GROUNDS)


def subject_of(image: Image.Image) -> Box:
    """What lies around everything but the plain ground, in whole blocks: its colours are what a palette has to show."""
    small = _reduced(image)
    box = (_shown(small.convert("RGB")) if image.mode == "RGB" else small.getchannel("A")).getbbox()
    left, top, right, bottom = box or (0, 0, *image.size)
    return left * BLOCK, top * BLOCK, min(right * BLOCK, image.width), min(bottom * BLOCK, image.height)


def _shown(image: Image.Image) -> Image.Image:
    """A mask (L) of what is not the plain ground in `image` (RGB): not near its commonest colour."""
    _, commonest = max(image.getcolors(image.width * image.height) or [])
    ground = Image.new("RGB", image.size, commonest)  # type: ignore[arg-type]  # RGB: three numbers
    return _largest_difference(image, ground).point([0] * (PLAIN + 1) + [255] * (255 - PLAIN))


def _reduced(image: Image.Image) -> Image.Image:
    """One pixel (RGBA) of each block."""
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(BLOCK).convert("RGBA")


def _on(ground: str, image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def _block_error(one: Image.Image, other: Image.Image) -> int:
    blocks = _largest_difference(one, other).histogram()
    allowed = _shown(one).histogram()[255] * WORST
    worst = 255
    while worst and sum(blocks[worst:]) <= allowed:
        worst -= 1
    return worst


def _largest_difference(one: Image.Image, other: Image.Image) -> Image.Image:
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)

"""Parts with a colour and a finish, and how they are painted.

Lengths are in hundredths of the picture's height at zoom 1: x to the right of the middle, y up from the floor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from imgsvc.demo.shop.light import Box, Finish, lit, mask_of, tinted
from imgsvc.demo.shop.shapes import Outline, Point

SHADOW = "#1c1420"


@dataclass(frozen=True, slots=True)
class Part:
    """One outline in one colour.

    `roundness` is how deep the edge of a soft part bends, `lift` how far its shadow reaches over the parts before it,
    and `gloss` (0–1) how white highlights are. `pattern` lies on it in the colour `ink` and is lit with it.
    """

    outline: Outline
    colour: str
    finish: Finish = Finish.soft
    roundness: float = 4.0
    lift: float = 0.0
    gloss: float = 0.5
    pattern: tuple[Outline, ...] = ()
    ink: str = "#ffffff"


Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """An object and where it stands, or hangs."""

    parts: Parts
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Camera:
    """The picture's size in pixels; `x` and `y` are what it has in its middle."""

    size: tuple[int, int]
    x: float = 0.0
    y: float = 36.0
    zoom: float = 1.0

    @property
    def scale(self) -> float:
        """Pixels per unit of length."""
        return self.size[1] * self.zoom / 100

    def see(self, outline: Sequence[Point], placed: Placed) -> list[Point]:
        scale = self.scale * placed.scale
        left = self.size[0] / 2 + (placed.x - self.x) * self.scale
        floor = self.size[1] / 2 - (placed.y - self.y) * self.scale
        return [(left + x * scale, floor - y * scale) for x, y in outline]


def paint(image: Image.Image, objects: Sequence[Placed], camera: Camera) -> Image.Image:
    """Paint every part onto `image` (RGB), in order; returns what they cover, as a mask."""
    cover = Image.new("L", image.size)
    for placed in objects:
        scale = placed.scale * camera.scale
        for part in placed.parts:
            points = camera.see(part.outline, placed)
            box = _bounds(points, image.size)
            if min(box.size) <= 0:
                continue
            if part.lift:
                _shade_beneath(image, cover, points, part.lift * scale)
            mask = mask_of([points], box, 2).reduce(2)
            tone = lit(points, box, part.finish, part.roundness * scale)
            image.paste(_coloured(part, tone, [camera.see(shape, placed) for shape in part.pattern], box), box, mask)
            cover.paste(255, box, mask)
    return cover


def _bounds(points: Sequence[Point], size: tuple[int, int], pad: float = 1.5) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, upper = max(0, int(min(xs) - pad)), max(0, int(min(ys) - pad))
    return Box(left, upper, min(size[0], int(max(xs) + pad) + 1), min(size[1], int(max(ys) + pad) + 1))


def _coloured(part: Part, tone: Image.Image, pattern: Sequence[Sequence[Point]], box: Box) -> Image.Image:
    colours = tinted(tone, part.colour, gloss=part.gloss)
    if pattern:
        colours.paste(tinted(tone, part.ink, gloss=part.gloss), mask=mask_of(pattern, box, 2).reduce(2))
    return colours


def _shade_beneath(image: Image.Image, cover: Image.Image, points: Sequence[Point], lift: float) -> None:
    """Darken what is painted already, down to the right of a part that is about to be painted on it."""
    fallen = [(x + lift * 0.6, y + lift * 0.8) for x, y in points]
    box = _bounds(fallen, image.size, pad=lift * 2.5)
    dark = mask_of([fallen], box, box.small).point([value * 105 // 255 for value in range(256)])
    dark = dark.filter(ImageFilter.GaussianBlur(lift * box.small)).resize(box.size, Image.Resampling.BILINEAR)
    image.paste(SHADOW, box, ImageChops.multiply(dark, cover.crop(box)))

"""Brightness: what the light from the upper left makes of an outline, and of a colour.

Light changes slowly, so it is made small and enlarged; only edges need every pixel.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

from imgsvc.demo.shop.shapes import FOOT, Point

NEUTRAL = 128  # the brightness that leaves a colour as it is
# Brightness round a turned body from its left edge (-1) to its right one (1).
AROUND = (
    (-1.2, 70),
    (-0.95, 96),
    (-0.7, 152),
    (-0.45, 208),
    (-0.22, 158),
    (0.15, 124),
    (0.6, 84),
    (0.88, 62),
    (1.2, 92),
)


class Finish(Enum):
    """How light falls on a part: evenly, as on something stuffed, or as on something made on a lathe."""

    flat = "flat"
    soft = "soft"
    turned = "turned"


class Box(NamedTuple):
    """Pixels of a picture; empty if its sides are in the wrong order."""

    left: int
    upper: int
    right: int
    lower: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.lower - self.upper

    @property
    def small(self) -> float:
        """The scale at which light is made."""
        return min(1.0, 150 / max(self.size))

    def scaled(self, scale: float) -> tuple[int, int]:
        return max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))


def mask_of(outlines: Sequence[Sequence[Point]], box: Box, scale: float) -> Image.Image:
    """White inside the outlines, black outside; without smooth edges."""
    mask = Image.new("L", box.scaled(scale))
    pen = ImageDraw.Draw(mask)
    for points in outlines:
        pen.polygon([((x - box.left) * scale, (y - box.upper) * scale) for x, y in points], fill=255)
    return mask


def tinted(tone: Image.Image, colour: str, *, gloss: float) -> Image.Image:
    """Brightness to colour: 0 is its shade (a little violet), 128 itself, 255 its highlight."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    bands = ((red, 0.30), (green, 0.27), (blue, 0.34))
    return Image.merge("RGB", [tone.point(_ramp(v * dark, v, v + (255 - v) * gloss)) for v, dark in bands])


def _ramp(shade: float, plain: float, light: float) -> list[int]:
    darker = [round(shade + (plain - shade) * i / NEUTRAL) for i in range(NEUTRAL)]
    return darker + [round(plain + (light - plain) * i / 127) for i in range(NEUTRAL)]


def lit(points: Sequence[Point], box: Box, finish: Finish, roundness: float) -> Image.Image:
    """The brightness of every pixel in `box`; `roundness` in pixels is for soft outlines."""
    small = box.small
    if finish is Finish.turned:
        tone = _turned(points, box)
    elif finish is Finish.soft:
        tone = _soft(points, box, max(1.0, roundness * small))
    else:
        tone = Image.new("L", box.scaled(small), NEUTRAL)
    slope = Image.linear_gradient("L").point([NEUTRAL + 18 - value * 36 // 255 for value in range(256)])
    sloped = ImageChops.add(tone, slope.resize(tone.size), 1, -NEUTRAL)
    return sloped.resize(box.size, Image.Resampling.BICUBIC)


def _turned(points: Sequence[Point], box: Box) -> Image.Image:
    """Strips from top to bottom, each as bright as its place between the left side and the right one."""
    small = box.small
    tone = Image.new("L", box.scaled(small), NEUTRAL)
    pen = ImageDraw.Draw(tone)
    half = [((x - box.left) * small, (y - box.upper) * small) for x, y in points[: len(points) // 2]]
    half[-FOOT:] = [(half[-FOOT][0], half[-1][1])]
    middle = ((points[0][0] + points[-1][0]) / 2 - box.left) * small
    for (u, light), (v, next_light) in pairwise(AROUND):
        for step in range(6):
            edges = [u + (v - u) * (step + i) / 6 for i in (0, 1)]
            strip = [[(middle + (middle - x) * edge, y) for x, y in half] for edge in edges]
            pen.polygon([*strip[0], *reversed(strip[1])], fill=round(light + (next_light - light) * step / 6))
    return tone.filter(ImageFilter.GaussianBlur(1.5))


def _soft(points: Sequence[Point], box: Box, radius: float) -> Image.Image:
    """Blurred, the outline is a hill; its slope towards the light is the brightness."""
    small = box.small
    pad = round(radius * 3 / small) + 2
    wide = Box(box.left - pad, box.upper - pad, box.right + pad, box.lower + pad)
    hill = mask_of([points], wide, small).filter(ImageFilter.GaussianBlur(radius))
    step = max(1, round(radius * 0.45))
    lower, upper = ImageChops.offset(hill, -step, -step), ImageChops.offset(hill, step, step)
    edge, (width, height) = round(pad * small), box.scaled(small)
    return ImageChops.subtract(lower, upper, 1.5, NEUTRAL).crop((edge, edge, edge + width, edge + height))

"""The photographer of the demo's shop: a paper roll as backdrop, shadows on floor and wall, film grain."""

import math
from collections.abc import Sequence
from functools import cache
from hashlib import shake_128
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from imgsvc.demo.shop.light import tinted
from imgsvc.demo.shop.painting import Camera, Placed, paint
from imgsvc.demo.shop.shapes import Outline, Point

NEAR_FLOOR = 8  # what lies below it throws the dark shadow next to an object
GRAIN_SIDE = 1024  # pixels of the square of grain that is repeated
GRAIN_LEVEL = 32  # what grain is that changes nothing


class Fall(NamedTuple):
    """How a shadow falls: heights are multiplied by `height` and lean by `lean`, then all is moved."""

    lean: float
    height: float
    move: Point
    blur: float
    strength: int


FAR = Fall(lean=0.32, height=0.19, move=(0, 0.3), blur=2.4, strength=62)
NEAR = Fall(lean=0.15, height=0.30, move=(0.2, 0.1), blur=1.0, strength=95)
WALL = Fall(lean=0, height=1, move=(1.4, -1.8), blur=1.3, strength=70)


def draw(objects: Sequence[Placed], camera: Camera, backdrop: str) -> Image.Image:
    """The objects before a backdrop, RGB, without grain."""
    small = Camera((camera.size[0] // 8 + 1, camera.size[1] // 8 + 1), camera.x, camera.y, camera.zoom)
    tone = ImageChops.subtract(_paper_roll(small.size), _shadows(objects, small))
    image = tinted(tone.resize(camera.size, Image.Resampling.BICUBIC), backdrop, gloss=0.5)
    paint(image, objects, camera)
    return image


def cut_out(objects: Sequence[Placed], camera: Camera) -> Image.Image:
    """The objects alone, RGBA."""
    image = Image.new("RGB", camera.size, "#8a8078")
    image.putalpha(paint(image, objects, camera))
    return image


def grainy(image: Image.Image) -> Image.Image:
    """An RGB picture with film grain, the same at every run."""
    tile = _grain()
    full = Image.new("L", image.size)
    for x in range(0, image.width, GRAIN_SIDE):
        for y in range(0, image.height, GRAIN_SIDE):
            full.paste(tile, (x, y))
    return ImageChops.add(image, full.convert("RGB"), 1, -GRAIN_LEVEL)


@cache
def _grain() -> Image.Image:
    noise = shake_128(b"grain").digest(GRAIN_SIDE**2)
    levels = bytes(round(GRAIN_LEVEL + 2.7 * _normal((byte + 0.5) / 256)) for byte in range(256))
    return Image.frombytes("L", (GRAIN_SIDE, GRAIN_SIDE), noise.translate(levels))


def _normal(share: float) -> float:
    """The quantile of a normal distribution, nearly (Tukey's lambda distribution with 0.14)."""
    return 4.91 * (math.pow(share, 0.14) - math.pow(1 - share, 0.14))


def _paper_roll(size: tuple[int, int]) -> Image.Image:
    """The brightness of a wall lit from the upper left that bends into a floor."""
    tones = bytes(_wall_tone(x / 23, y / 17) for y in range(18) for x in range(24))
    return Image.frombytes("L", (24, 18), tones).resize(size, Image.Resampling.BICUBIC)


def _wall_tone(x: float, y: float) -> int:
    spot = max(0.0, 1 - ((x - 0.36) ** 2 + (y - 0.34) ** 2) * 1.5)
    bend = max(0.0, min(1.0, (y - 0.60) / 0.16))
    floor = bend * bend * (3 - 2 * bend)
    return round(96 + 62 * spot * (1 - floor * 0.4) + floor * (26 - 16 * y))


def _shadows(objects: Sequence[Placed], camera: Camera) -> Image.Image:
    """How much darker floor and wall are."""
    dark = Image.new("L", camera.size)
    for fall in (FAR, NEAR, WALL):
        shadow = Image.new("L", camera.size)
        pen = ImageDraw.Draw(shadow)
        for placed in objects:
            for part in placed.parts if placed.hung is (fall is WALL) else ():
                fallen = _fallen(part.outline, fall)
                if len(fallen) > 2:
                    pen.polygon(camera.see(fallen, placed), fill=fall.strength)
        dark = ImageChops.lighter(dark, shadow.filter(ImageFilter.GaussianBlur(fall.blur * camera.scale)))
    return dark


def _fallen(outline: Outline, fall: Fall) -> list[Point]:
    most = NEAR_FLOOR if fall is NEAR else math.inf
    return [(x + fall.lean * y + fall.move[0], y * fall.height + fall.move[1]) for x, y in outline if y < most]

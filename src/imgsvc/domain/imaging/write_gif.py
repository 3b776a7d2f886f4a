"""Writes animated GIFs frame by frame: of each one only what differs from the one before.

Pillow's own writer keeps every frame until the last, and looks for the best 256 colours of all pixels of each: that
took 0.6 to 1.7 s for a megapixel of many colours. Its encoder of one frame is used here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from PIL import GifImagePlugin, Image, ImageChops
from PIL.Image import Quantize

from imgsvc.domain.imaging.animation import Frame
from imgsvc.domain.imaging.palettes import exactly

Box = tuple[int, int, int, int]

SAMPLE = 64
"""Pixels a side from which a palette is made where a frame has more colours than fit."""
MAX_DELAY = 655_350
"""Milliseconds that a frame may be shown: 16 bits of hundredths of a second."""
KEEP, CLEAR = 1, 2
"""What becomes of a frame before the next (GIF89a, 23.c.iv)."""
BLANK = (0, 0, 0, 0)


@dataclass(slots=True)
class _Shown:
    """A frame that waits for the next: `before` is what it is drawn on, None for nothing at all."""

    image: Image.Image
    before: Image.Image | None
    duration: int


def write_gif(frames: Iterator[Frame], file: IO[bytes], *, plays: int, careful: bool) -> Iterator[None]:
    """Write `frames` (of any plain mode, all of one size; alpha is all or nothing), yielding after each.

    Frames that look the same are written as one. `careful` looks for the nearest of 255 good colours, which takes 0.2 s
    for a megapixel of more of them; else colours that are 16 steps apart may become one.
    """
    shown: _Shown | None = None
    for image, duration in frames:
        solid = _solid(image)
        if shown is None:
            file.write(_header(image.size, plays))
            shown = _Shown(solid, None, duration)
        elif shown.duration + duration <= MAX_DELAY and not _changes(solid, shown.image).getbbox():
            shown.duration += duration
        else:
            file.writelines(_block(shown, solid, careful=careful))
            cleared = _needs_clearing(shown.image, solid)
            shown = _Shown(solid, Image.new("RGBA", solid.size) if cleared else shown.image, duration)
        yield
    if shown is not None:
        file.writelines(_block(shown, None, careful=careful))
    file.write(b";")


def _header(size: tuple[int, int], plays: int) -> bytes:
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", min(max(0, plays - 1), 0xFFFF)) + b"\0"
    # A GIF that says nothing plays once, and what it says is the number of repetitions.
    return b"GIF89a" + struct.pack("<2H3B", *size, 0x70, 0, 0) + (b"" if plays == 1 else loop)


def _solid(image: Image.Image) -> Image.Image:
    """RGBA in which what is transparent has no colour either."""
    if image.mode not in {"LA", "RGBA"}:
        return image.convert("RGBA")
    rgba = image.convert("RGBA")
    solid = Image.new("RGBA", image.size)
    solid.paste(rgba, mask=rgba.getchannel("A").point([0] * 128 + [255] * 128))
    return solid


def _changes(one: Image.Image, other: Image.Image) -> Image.Image:
    """A mask (L) of the pixels that differ."""
    red, green, blue, alpha = ImageChops.difference(one, other).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), ImageChops.lighter(blue, alpha))
    return most.point([0] + [255] * 255)


def _needs_clearing(shown: Image.Image, following: Image.Image) -> bool:
    """Whether something has to go: it cannot be painted over with nothing."""
    return ImageChops.subtract(shown.getchannel("A"), following.getchannel("A")).getbbox() is not None


def _block(shown: _Shown, following: Image.Image | None, *, careful: bool) -> list[bytes]:
    clear = following is not None and _needs_clearing(shown.image, following)
    changes = _changes(shown.image, shown.before) if shown.before else None
    box = _box(shown.image, changes, clear=clear)
    part = shown.image.crop(box)
    painted = part
    if changes:
        painted = Image.new("RGBA", part.size)
        painted.paste(part, mask=changes.crop(box))
    indexes, hole = _indexes(painted, part, hole=clear, careful=careful)
    options = {"duration": shown.duration, "disposal": CLEAR if clear else KEEP, "include_color_table": True}
    if hole is not None:
        options["transparency"] = hole
    return GifImagePlugin.getdata(indexes, box[:2], **options)


def _box(image: Image.Image, changes: Image.Image | None, *, clear: bool) -> Box:
    """What of a frame is written: all of the first; what has changed; everything in it where all of it is to go."""
    if changes is None:
        return (0, 0, *image.size)
    seen = image.getchannel("A") if clear else changes
    return seen.getbbox() or (0, 0, 1, 1)


def _indexes(painted: Image.Image, part: Image.Image, *, hole: bool, careful: bool) -> tuple[Image.Image, int | None]:
    """A palette image of `painted` (RGBA), and the index of what is transparent in it if anything is.

    `part` is the same with what was there before: where 256 colours are needed, there is no index left for a hole.
    """
    see_through = painted.getchannel("A").getextrema()[0] == 0
    if painted.getcolors(256 - (hole and not see_through)) is not None:
        few = exactly(painted)
        return few, 0 if see_through else _one_more(few) if hole else None
    if not hole and part.getchannel("A").getextrema()[0] == 255 and part.getcolors(256) is not None:
        return exactly(part), None
    few = _nearest(painted.convert("RGB"), careful=careful)
    if not see_through and not hole:
        return few, None
    few.paste(255, mask=painted.getchannel("A").point([255] + [0] * 255))
    few.putpalette([*(few.getpalette() or [])[: 255 * 3], 0, 0, 0])
    return few, 255


def _one_more(few: Image.Image) -> int:
    """The index of an entry behind those that `few` has."""
    entries = few.getpalette() or []
    few.putpalette([*entries, 0, 0, 0])
    return len(entries) // 3


def _nearest(rgb: Image.Image, *, careful: bool) -> Image.Image:
    if not careful:
        return rgb.quantize(255, Quantize.FASTOCTREE)
    sample = rgb.resize((min(SAMPLE, rgb.width), min(SAMPLE, rgb.height)), Image.Resampling.NEAREST)
    entries = sample.quantize(255).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries + entries[-3:] * (256 - len(entries) // 3))  # what is left out would be black
    return rgb.quantize(palette=palette, dither=Image.Dither.NONE)

"""Writer of animated GIFs, frame by frame: each contains only what differs from the previous frame.

Pillow's own writer keeps all frames in memory, and computes the best 256 colours from all pixels of each, which took
0.6 to 1.7 s for a megapixel of many colours. This one uses Pillow's encoder of one frame.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from PIL import GifImagePlugin, Image, ImageChops
from PIL.Image import Quantize

from imgsvc.domain.imaging.animation import Frame
from imgsvc.domain.imaging.palettes import exact_palette

Box = tuple[int, int, int, int]

SAMPLE = 64
"""Side in pixels of the sample that a palette is made from if a frame has more colours than fit."""
MAX_DELAY = 655_350
"""Longest duration of a frame in milliseconds: 16 bits of hundredths of a second."""
KEEP, CLEAR = 1, 2
"""Disposal methods: a frame stays below the next, or its area is cleared (GIF89a, 23.c.iv)."""


@dataclass(slots=True)
class _PendingFrame:
    """The last frame read, written once the next is known; `canvas` is the image it is drawn on, None for the first."""

    image: Image.Image
    canvas: Image.Image | None
    duration: int


def write_gif(frames: Iterator[Frame], file: IO[bytes], *, plays: int, careful: bool) -> Iterator[None]:
    """Write `frames` (of any plain mode, all of one size, with binary alpha), yielding after each.

    Consecutive frames that look the same are written as one. If a frame has more than 255 colours, `careful` finds the
    nearest of 255 good ones, which takes 0.2 s per megapixel; otherwise colours 16 steps apart may be merged.
    """
    pending: _PendingFrame | None = None
    for image, duration in frames:
        solid = _solid(image)
        if pending is None:
            file.write(_header(image.size, plays))
            pending = _PendingFrame(solid, None, duration)
        elif pending.duration + duration <= MAX_DELAY and not _changes(solid, pending.image).getbbox():
            pending.duration += duration
        else:
            file.writelines(_block(pending, solid, careful=careful))
            cleared = _needs_clearing(pending.image, solid)
            pending = _PendingFrame(solid, Image.new("RGBA", solid.size) if cleared else pending.image, duration)
        yield
    if pending is not None:
        file.writelines(_block(pending, None, careful=careful))
    file.write(b";")


def _header(size: tuple[int, int], plays: int) -> bytes:
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", min(max(0, plays - 1), 0xFFFF)) + b"\0"
    # The number counts repetitions; without the extension, a GIF is played once.
    return b"GIF89a" + struct.pack("<2H3B", *size, 0x70, 0, 0) + (b"" if plays == 1 else loop)


def _solid(image: Image.Image) -> Image.Image:
    """Return `image` as RGBA, with all transparent pixels in one colour."""
    if image.mode not in {"LA", "RGBA"}:
        return image.convert("RGBA")
    rgba = image.convert("RGBA")
    solid = Image.new("RGBA", image.size)
    solid.paste(rgba, mask=rgba.getchannel("A").point([0] * 128 + [255] * 128))
    return solid


def _changes(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return a mask (L) of the pixels that differ."""
    red, green, blue, alpha = ImageChops.difference(one, other).split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), ImageChops.lighter(blue, alpha))
    return largest.point([0] + [255] * 255)


def _needs_clearing(image: Image.Image, following: Image.Image) -> bool:
    """Return whether a visible pixel becomes transparent: a GIF can only clear it, not draw over it."""
    return ImageChops.subtract(image.getchannel("A"), following.getchannel("A")).getbbox() is not None


def _block(pending: _PendingFrame, following: Image.Image | None, *, careful: bool) -> list[bytes]:
    clear = following is not None and _needs_clearing(pending.image, following)
    changes = _changes(pending.image, pending.canvas) if pending.canvas else None
    box = _box(pending.image, changes, clear=clear)
    part = pending.image.crop(box)
    painted = part
    if changes:
        painted = Image.new("RGBA", part.size)
        painted.paste(part, mask=changes.crop(box))
    indexes, transparent_entry = _indexes(painted, part, transparent_entry=clear, careful=careful)
    options = {"duration": pending.duration, "disposal": CLEAR if clear else KEEP, "include_color_table": True}
    if transparent_entry is not None:
        options["transparency"] = transparent_entry
    return GifImagePlugin.getdata(indexes, box[:2], **options)


def _box(image: Image.Image, changes: Image.Image | None, *, clear: bool) -> Box:
    """Return the box to write: all of the first frame, otherwise the changes, or everything that will be cleared."""
    if changes is None:
        return (0, 0, *image.size)
    written = image.getchannel("A") if clear else changes
    return written.getbbox() or (0, 0, 1, 1)


def _indexes(
    painted: Image.Image, part: Image.Image, *, transparent_entry: bool, careful: bool
) -> tuple[Image.Image, int | None]:
    """Return a palette image of `painted` (RGBA), and the index of its transparent entry, if it has one.

    `part` also has the unchanged pixels; it is used if all 256 entries are needed for colours.
    `transparent_entry` asks for a transparent entry even if no pixel needs one.
    """
    is_transparent = painted.getchannel("A").getextrema()[0] == 0
    if painted.getcolors(256 - (transparent_entry and not is_transparent)) is not None:
        reduced = exact_palette(painted)
        return reduced, 0 if is_transparent else _append_entry(reduced) if transparent_entry else None
    if not transparent_entry and part.getchannel("A").getextrema()[0] == 255 and part.getcolors(256) is not None:
        return exact_palette(part), None
    reduced = _nearest(painted.convert("RGB"), careful=careful)
    if not is_transparent and not transparent_entry:
        return reduced, None
    reduced.paste(255, mask=painted.getchannel("A").point([255] + [0] * 255))
    reduced.putpalette([*(reduced.getpalette() or [])[: 255 * 3], 0, 0, 0])
    return reduced, 255


def _append_entry(reduced: Image.Image) -> int:
    """Append an entry to the palette of `reduced` and return its index."""
    entries = reduced.getpalette() or []
    reduced.putpalette([*entries, 0, 0, 0])
    return len(entries) // 3


def _nearest(rgb: Image.Image, *, careful: bool) -> Image.Image:
    if not careful:
        return rgb.quantize(255, Quantize.FASTOCTREE)
    sample = rgb.resize((min(SAMPLE, rgb.width), min(SAMPLE, rgb.height)), Image.Resampling.NEAREST)
    entries = sample.quantize(255).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries + entries[-3:] * (256 - len(entries) // 3))  # missing entries would be black
    return rgb.quantize(palette=palette, dither=Image.Dither.NONE)

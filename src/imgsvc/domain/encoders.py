"""Frames to bytes: how each format is written, and Pillow's writing errors translated once."""

import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image, ImageFile, PngImagePlugin

from imgsvc.domain.palettes import with_few_colours
from imgsvc.errors import EncodeError

# A JPEG side takes 16 bits, and libjpeg stops at 65,500 (JPEG_MAX_DIMENSION); a WebP side 14 (RFC 9649 §2.6); libavif
# reads no more than 32,768.
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535, "avif": 32_768}
MOVING_TARGETS = frozenset({"gif", "png", "webp", "avif"})
WRITING_FAILURES = (
    ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning,
    struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frames:
    """What is written: one picture, or an animation with `durations` in ms and `plays` (0: for ever)."""

    images: tuple[Image.Image, ...]
    durations: tuple[int, ...] = ()
    plays: int = 0


def encode(frames: Frames, target: str, *, quality: int, exif: bytes, xmp: bytes = b"") -> bytes:
    """Write `frames` (L, LA, RGB, RGBA; for JPEG without alpha) as `target`: jpeg, png, webp, avif or gif.

    PNG is written with few colours where they look like all and weigh less: smooth drawings weigh more.

    Raises:
        EncodeError: the format cannot hold it, with a sentence that says why where that is known.
    """
    _check_sides(frames.images[0], target)
    options: dict[str, Any] = {**options_of(target, quality), "exif": exif, **_with_xmp(target, xmp)}
    if len(frames.images) > 1:
        return _save(_same_mode(frames.images), target, options | _motion(frames, target))
    if target != "png":
        return _save(frames.images, target, options)
    few, whole = with_few_colours(frames.images[0], quality), frames.images[0]
    return _save((few if _weighs_less(few, whole) else whole,), target, options)


def _weighs_less(few: Image.Image, whole: Image.Image) -> bool:
    """By an eighth of the picture, from its middle: to write all of it in both ways would take three times as long."""
    if few is whole:
        return False
    top = whole.height * 7 // 16
    band = (0, top, whole.width, top + max(1, whole.height // 8))
    return len(_save((few.crop(band),), "png", {})) <= len(_save((whole.crop(band),), "png", {}))


def _check_sides(image: Image.Image, target: str) -> None:
    longest = LONGEST_SIDE.get(target)
    if longest is not None and max(image.size) > longest:
        raise EncodeError(f"{target.upper()} holds at most {longest:,} pixels a side; this picture is larger.")


def options_of(target: str, quality: int) -> dict[str, object]:
    """Pillow's options for a still picture; why these, docs/compression.md says."""
    if target == "jpeg":
        return {"quality": quality, "subsampling": "4:2:0" if quality <= 90 else "4:4:4"}
    if target == "webp":
        return {"quality": quality, "method": 4}
    if target == "avif":
        return {"quality": quality, "speed": 8, "max_threads": 1}
    return {}


def _with_xmp(target: str, xmp: bytes) -> dict[str, object]:
    if not xmp or target == "gif":
        return {}
    if target != "png":
        return {"xmp": xmp}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return {"pnginfo": text}


def _motion(frames: Frames, target: str) -> dict[str, object]:
    options: dict[str, object] = {"duration": list(frames.durations)}
    if target == "gif":
        transparent = any(image.mode in {"LA", "RGBA"} for image in frames.images)
        options["disposal"] = 2 if transparent else 0  # clear the frame, or the last one shines through the next
        if frames.plays == 1:
            return options  # a GIF that says nothing plays once, and what it says is the number of repetitions
    options["loop"] = max(0, frames.plays - 1) if target == "gif" else frames.plays
    return options


def _same_mode(images: tuple[Image.Image, ...]) -> tuple[Image.Image, ...]:
    if len({image.mode for image in images}) == 1:
        return images
    return tuple(image.convert("RGBA") for image in images)


def _save(images: tuple[Image.Image, ...], target: str, options: dict[str, Any]) -> bytes:
    first, *rest = images
    if target == "avif" and isinstance(first, ImageFile.ImageFile):
        first = first.copy()  # or its other pages would be written too
    if rest:
        options = {**options, "append_images": rest, "save_all": True}
    file = _mine.scratch.file
    try:
        first.save(file, target, **options)
        return os.pread(file.fileno(), file.seek(0, os.SEEK_END), 0)
    finally:
        file.seek(0)
        file.truncate()


class _Scratch:
    """A file in memory with a real descriptor: into anything else Pillow's JPEG encoder writes under the GIL."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.file: IO[bytes] = os.fdopen(os.memfd_create("rendition"), "w+b")
        else:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # see below

    def __del__(self) -> None:
        self.file.close()


class _Mine(threading.local):
    """Each thread's own, empty between two pictures, and closed with the thread.

    To open and close one for every picture takes a dozen system calls, after each of which a thread queues for the GIL.
    """

    def __init__(self) -> None:
        self.scratch = _Scratch()


_mine = _Mine()


@contextmanager
def writing() -> Iterator[None]:
    """The one place where Pillow's writing errors become ours."""
    try:
        yield
    except WRITING_FAILURES as exc:
        raise EncodeError from exc

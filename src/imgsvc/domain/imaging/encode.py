"""Frames to bytes: how each format is written, and Pillow's writing errors translated once."""

import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from PIL import Image, ImageFile, PngImagePlugin

from imgsvc.domain.imaging.animation import Film, OtherMode, Reel
from imgsvc.domain.imaging.palettes import quantise
from imgsvc.domain.imaging.write_apng import write_apng
from imgsvc.domain.imaging.write_gif import write_gif
from imgsvc.errors import EncodeError

# A JPEG side takes 16 bits, and libjpeg stops at 65,500 (JPEG_MAX_DIMENSION); a WebP side 14 (RFC 9649 §2.6); libavif
# reads no more than 32,768.
MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535, "avif": 32_768}
MOVING_TARGETS = frozenset({"gif", "png", "webp", "avif"})
WRITING_FAILURES = (
    ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning,
    struct.error, zlib.error,
)  # fmt: skip


MAX_BYTES = 64 * 2**20
"""Of an animation that is written: 250 megapixels as PNG could have a gigabyte, from a file of one."""


def encode(image: Image.Image, target: str, *, quality: int, exif: bytes, xmp: bytes = b"") -> bytes:
    """Write `image` (L, LA, RGB, RGBA; for JPEG without alpha) as `target`: jpeg, png, webp or avif.

    PNG is written with few colours where they look like all and weigh less: smooth drawings weigh more.

    Raises:
        EncodeError: the format cannot hold it, with a sentence that says why where that is known.
    """
    _check_sides(image, target)
    options: dict[str, Any] = {**options_of(target, quality), "exif": exif, **_with_xmp(target, xmp)}
    if target != "png":
        return _save(image, target, options)
    few = quantise(image, quality)
    return _save(few if _weighs_less(few, image) else image, target, options)


class Oversized(EncodeError):
    """The animation is larger than it may be."""


def encode_film(
    film: Film, target: str, *, quality: int, exif: bytes, xmp: bytes = b"", most: int = MAX_BYTES
) -> bytes:
    """Write an animation (L, LA, RGB, RGBA, all frames of one size) as gif, png, webp or avif, frame by frame.

    It is decoded meanwhile, once or twice. The larger it is, the less effort is made: it has to end in time.

    Raises:
        BrokeOff: a frame is damaged.
        Oversized: more than `most` bytes.
        EncodeError: the format cannot hold it, with a sentence that says why where that is known.
    """
    first = next(film.frames()).image
    _check_sides(first, target)
    megapixels = first.width * first.height * film.count / 1e6
    facts = {"exif": exif, **_with_xmp(target, xmp)}
    if target == "gif":
        return _written(lambda file: write_gif(film.frames(), file, plays=film.plays, careful=megapixels <= 60), most)
    try:
        return _written(partial(_write_film, film.of_one_mode(), target, quality, megapixels, facts), most)
    except OtherMode:
        in_rgba = film.through(lambda image: image if image.mode == "RGBA" else image.convert("RGBA"))
        return _written(partial(_write_film, in_rgba, target, quality, megapixels, facts), most)


def _write_film(
    film: Film, target: str, quality: int, megapixels: float, facts: dict[str, Any], file: IO[bytes]
) -> Iterator[None]:
    options = options_of(target, quality) | effort_for(target, megapixels)
    if target == "png":
        yield from write_apng(film.frames(), file, plays=film.plays, options=options, still_options=facts)
        return
    reel = Reel(film)
    reel.save(file, target, save_all=True, duration=reel.durations, loop=film.plays, **options, **facts)


def effort_for(target: str, megapixels: float) -> dict[str, object]:
    """Pillow's options that make 250 megapixels end in time; docs/compression.md has what they cost in bytes."""
    if target == "webp":
        return {"method": 4 if megapixels <= 60 else 2 if megapixels <= 120 else 0}
    if target == "png":
        return {"compress_level": 6 if megapixels <= 30 else 3 if megapixels <= 100 else 1}
    return {"speed": 8 if megapixels <= 60 else 10}


def _weighs_less(few: Image.Image, whole: Image.Image) -> bool:
    """By an eighth of the image, from its middle: to write all of it in both ways would take three times as long."""
    if few is whole:
        return False
    top = whole.height * 7 // 16
    band = (0, top, whole.width, top + max(1, whole.height // 8))
    return len(_save(few.crop(band), "png", {})) <= len(_save(whole.crop(band), "png", {}))


def _check_sides(image: Image.Image, target: str) -> None:
    longest = MAX_SIDE.get(target)
    if longest is not None and max(image.size) > longest:
        raise EncodeError(f"{target.upper()} holds at most {longest:,} pixels a side; this image is larger.")


def options_of(target: str, quality: int) -> dict[str, object]:
    """Pillow's options for a still image; why these, docs/compression.md says."""
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


def _save(image: Image.Image, target: str, options: dict[str, Any]) -> bytes:
    if target == "avif" and isinstance(image, ImageFile.ImageFile):
        image = image.copy()  # or its other pages would be written too
    file = _mine.scratch.file
    try:
        image.save(file, target, **options)
        return os.pread(file.fileno(), file.seek(0, os.SEEK_END), 0)
    finally:
        file.seek(0)
        file.truncate()


def _written(write: Callable[[IO[bytes]], Iterator[None]], most: int) -> bytes:
    """What `write` puts into the file that it is given, which may have `most` bytes."""
    file = _mine.scratch.file
    try:
        for _ in write(file):
            _check_bytes(file.tell(), most)
        _check_bytes(size := file.seek(0, os.SEEK_END), most)
        return os.pread(file.fileno(), size, 0)
    finally:
        file.seek(0)
        file.truncate()


def _check_bytes(size: int, most: int) -> None:
    if size > most:
        raise Oversized(f"The animation would have more than {most / 2**20:g} MiB in this format.")


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
    """Each thread's own, empty between two images, and closed with the thread.

    To open and close one for every image takes a dozen system calls, after each of which a thread queues for the GIL.
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

"""Frames to bytes: how each format is written, and Pillow's writing errors translated once."""

import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO

from PIL import Image, ImageFile, PngImagePlugin

from imgsvc.domain.imaging.animation import Film, OtherMode, Reel
from imgsvc.domain.imaging.formats import AVIF, GIF, PNG, Options, OutputFormat
from imgsvc.domain.imaging.palettes import quantise
from imgsvc.domain.imaging.write_apng import write_apng
from imgsvc.domain.imaging.write_gif import write_gif
from imgsvc.errors import EncodeError

WRITING_FAILURES = (
    ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning,
    struct.error, zlib.error,
)  # fmt: skip


MAX_BYTES = 64 * 2**20
"""Of an animation that is written: 250 megapixels as PNG could have a gigabyte, from a file of one."""


def encode(image: Image.Image, target: OutputFormat, *, quality: int, exif: bytes, xmp: bytes = b"") -> bytes:
    """Write `image` (L, LA, RGB, RGBA; without alpha if `target` has none) as a still.

    Raises:
        EncodeError: the format cannot hold the image; the message contains the reason if it is known.
    """
    _check_sides(image, target)
    options = target.options(quality) | _metadata_options(target, exif, xmp)
    encoder = ENCODERS.get(target)
    return encoder(image, quality, options) if encoder else _save(image, target, options)


def _encode_png(image: Image.Image, quality: int, options: Options) -> bytes:
    """Write a palette where it looks like the image and is smaller: smooth drawings are larger with a palette."""
    few = quantise(image, quality)
    return _save(few if _weighs_less(few, image) else image, PNG, options)


def _encode_avif(image: Image.Image, _quality: int, options: Options) -> bytes:
    """Copy an opened file first: Pillow would write its other pages as well."""
    return _save(image.copy() if isinstance(image, ImageFile.ImageFile) else image, AVIF, options)


ENCODERS: Mapping[OutputFormat, Callable[[Image.Image, int, Options], bytes]] = {
    PNG: _encode_png,
    AVIF: _encode_avif,
}
"""Encoders of stills, for the formats that need more than Pillow's `save`."""


class Oversized(EncodeError):
    """The animation is larger than it may be."""


def encode_film(
    film: Film, target: OutputFormat, *, quality: int, exif: bytes, xmp: bytes = b"", most: int = MAX_BYTES
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
    options = target.options(quality) | target.animation_options(megapixels)
    if target is GIF:
        return _written(lambda file: write_gif(film.frames(), file, plays=film.plays, **options), most)
    metadata = _metadata_options(target, exif, xmp)
    try:
        return _written(partial(_write_film, film.of_one_mode(), target, options, metadata), most)
    except OtherMode:
        in_rgba = film.through(lambda image: image if image.mode == "RGBA" else image.convert("RGBA"))
        return _written(partial(_write_film, in_rgba, target, options, metadata), most)


def _write_film(
    film: Film, target: OutputFormat, options: Options, metadata: Options, file: IO[bytes]
) -> Iterator[None]:
    if target is PNG:
        yield from write_apng(film.frames(), file, plays=film.plays, options=options, still_options=metadata)
        return
    reel = Reel(film)
    reel.save(file, target.name, save_all=True, duration=reel.durations, loop=film.plays, **options, **metadata)


def _weighs_less(few: Image.Image, whole: Image.Image) -> bool:
    """By an eighth of the image, from its middle: to write all of it in both ways would take three times as long."""
    if few is whole:
        return False
    top = whole.height * 7 // 16
    band = (0, top, whole.width, top + max(1, whole.height // 8))
    return len(_save(few.crop(band), PNG, {})) <= len(_save(whole.crop(band), PNG, {}))


def _check_sides(image: Image.Image, target: OutputFormat) -> None:
    if target.max_side is not None and max(image.size) > target.max_side:
        raise EncodeError(
            f"{target.name.upper()} holds at most {target.max_side:,} pixels a side; this image is larger."
        )


def _metadata_options(target: OutputFormat, exif: bytes, xmp: bytes) -> Options:
    if not xmp:
        return {"exif": exif}
    if target is not PNG:
        return {"exif": exif, "xmp": xmp}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return {"exif": exif, "pnginfo": text}


def _save(image: Image.Image, target: OutputFormat, options: Options) -> bytes:
    file = _mine.scratch.file
    try:
        image.save(file, target.name, **options)
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

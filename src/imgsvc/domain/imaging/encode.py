"""Encoders: frames to bytes, and the translation of Pillow's errors."""

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

from imgsvc.domain.imaging.animation import Animation, MixedModes, PillowAnimation
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
"""Limit of an animation: 250 megapixels as PNG could take a gigabyte, from a small input."""


def encode(image: Image.Image, target: OutputFormat, *, quality: int, exif: bytes, xmp: bytes = b"") -> bytes:
    """Encode `image` (L, LA, RGB, RGBA; without alpha if `target` has none) as a still.

    Raises:
        EncodeError: the format cannot hold the image; the message contains the reason if it is known.
    """
    _check_sides(image, target)
    options = target.options(quality) | _metadata_options(target, exif, xmp)
    encoder = ENCODERS.get(target)
    return encoder(image, quality, options) if encoder else _save(image, target, options)


def _encode_png(image: Image.Image, quality: int, options: Options) -> bytes:
    """Write a palette image if it looks the same and is smaller: smooth drawings are larger with a palette."""
    reduced = quantise(image, quality)
    return _save(reduced if _is_smaller(reduced, image) else image, PNG, options)


def _encode_avif(image: Image.Image, _quality: int, options: Options) -> bytes:
    """Copy an opened file first: Pillow would write its other pages as well."""
    return _save(image.copy() if isinstance(image, ImageFile.ImageFile) else image, AVIF, options)


ENCODERS: Mapping[OutputFormat, Callable[[Image.Image, int, Options], bytes]] = {
    PNG: _encode_png,
    AVIF: _encode_avif,
}
"""Encoders of stills, for the formats that need more than Pillow's `save`."""


class Oversized(EncodeError):
    """The animation is larger than allowed."""


def encode_animation(
    animation: Animation,
    target: OutputFormat,
    *,
    quality: int,
    exif: bytes,
    xmp: bytes = b"",
    max_bytes: int = MAX_BYTES,
) -> bytes:
    """Encode an animation (L, LA, RGB, RGBA, all frames of one size) frame by frame, while it is decoded.

    The animation may be decoded twice. Larger ones are encoded with less effort, to finish in time.

    Raises:
        FrameDamaged: a frame cannot be decoded.
        Oversized: more than `max_bytes`.
        EncodeError: the format cannot hold the animation; the message contains the reason if it is known.
    """
    first = next(animation.frames()).image
    _check_sides(first, target)
    megapixels = first.width * first.height * animation.count / 1e6
    options = target.options(quality) | target.animation_options(megapixels)
    if target is GIF:
        return _written(lambda file: write_gif(animation.frames(), file, plays=animation.plays, **options), max_bytes)
    metadata = _metadata_options(target, exif, xmp)
    try:
        return _written(partial(_write_animation, animation.in_one_mode(), target, options, metadata), max_bytes)
    except MixedModes:
        in_rgba = animation.map(lambda image: image if image.mode == "RGBA" else image.convert("RGBA"))
        return _written(partial(_write_animation, in_rgba, target, options, metadata), max_bytes)


def _write_animation(
    animation: Animation, target: OutputFormat, options: Options, metadata: Options, file: IO[bytes]
) -> Iterator[None]:
    if target is PNG:
        frames = animation.frames()
        yield from write_apng(frames, file, plays=animation.plays, options=options, still_options=metadata)
        return
    image = PillowAnimation(animation)
    image.save(file, target.name, save_all=True, duration=image.durations, loop=animation.plays, **options, **metadata)


def _is_smaller(reduced: Image.Image, whole: Image.Image) -> bool:
    """Compare an eighth of the image, from its middle: writing all of it both ways would take three times as long."""
    if reduced is whole:
        return False
    top = whole.height * 7 // 16
    band = (0, top, whole.width, top + max(1, whole.height // 8))
    return len(_save(reduced.crop(band), PNG, {})) <= len(_save(whole.crop(band), PNG, {}))


def _check_sides(image: Image.Image, target: OutputFormat) -> None:
    if target.max_side is not None and max(image.size) > target.max_side:
        raise EncodeError(f"{target.title} holds at most {target.max_side:,} pixels per side; this image is larger.")


def _metadata_options(target: OutputFormat, exif: bytes, xmp: bytes) -> Options:
    if not xmp:
        return {"exif": exif}
    if target is not PNG:
        return {"exif": exif, "xmp": xmp}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return {"exif": exif, "pnginfo": text}


def _save(image: Image.Image, target: OutputFormat, options: Options) -> bytes:
    file = _thread.scratch.file
    try:
        image.save(file, target.name, **options)
        return os.pread(file.fileno(), file.seek(0, os.SEEK_END), 0)
    finally:
        file.seek(0)
        file.truncate()


def _written(write: Callable[[IO[bytes]], Iterator[None]], max_bytes: int) -> bytes:
    """Return the bytes that `write` writes to a file, at most `max_bytes`; the size is checked whenever it yields."""
    file = _thread.scratch.file
    try:
        for _ in write(file):
            _check_bytes(file.tell(), max_bytes)
        _check_bytes(size := file.seek(0, os.SEEK_END), max_bytes)
        return os.pread(file.fileno(), size, 0)
    finally:
        file.seek(0)
        file.truncate()


def _check_bytes(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise Oversized(f"The animation would have more than {max_bytes / 2**20:g} MiB in this format.")


class _ScratchFile:
    """A file in memory with a descriptor: without one, Pillow's JPEG encoder does not release the GIL."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.file: IO[bytes] = os.fdopen(os.memfd_create("rendition"), "w+b")
        else:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __del__

    def __del__(self) -> None:
        self.file.close()


class _ThreadState(threading.local):
    """A scratch file for the thread, empty between images, and closed when the thread ends.

    A file per image would take a dozen system calls, and the thread would wait for the GIL after each.
    """

    def __init__(self) -> None:
        self.scratch = _ScratchFile()


_thread = _ThreadState()


@contextmanager
def writing() -> Iterator[None]:
    """Translate Pillow's errors inside the block to EncodeError."""
    try:
        yield
    except WRITING_FAILURES as exc:
        raise EncodeError from exc

"""Writes animated PNGs frame by frame: of each one only what differs from the one before.

Pillow's own writer keeps every frame until the last; its encoder of one image is used here, whose chunks are put into
those of an APNG (PNG, third edition, 4.9 and 11.3.5).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageChops

from imgsvc.domain.imaging.animation import MAX_FRAME_DURATION, Frame
from imgsvc.domain.imaging.file_structure.png_chunks import png_chunks

Chunk = tuple[bytes, bytes]
Box = tuple[int, int, int, int]


@dataclass(slots=True)
class _Shown:
    image: Image.Image
    box: Box
    duration: int


class _Writer:
    def __init__(self, file: IO[bytes], options: dict[str, Any], still_options: dict[str, Any]) -> None:
        self._file = file
        self._options = options
        self._still_options = still_options
        self._sequence = 0
        self._control_at = 0
        self.frames = 0

    def write(self, shown: _Shown, plays: int) -> None:
        if not self.frames:
            self._write_first(shown, plays)
        else:
            self._write_control(shown)
            for kind, body in _chunks(shown.image.crop(shown.box), self._options):
                if kind == b"IDAT":
                    self._put(b"fdAT", struct.pack(">I", self._next()) + body)
        self.frames += 1

    def _write_first(self, shown: _Shown, plays: int) -> None:
        self._file.write(b"\x89PNG\r\n\x1a\n")
        begun = False
        for kind, body in _chunks(shown.image, self._options | self._still_options):
            if kind == b"IDAT" and not begun:
                self._control_at, begun = self._file.tell(), True
                self._put(b"acTL", struct.pack(">2I", 0, plays))
                self._write_control(shown)
            if kind != b"IEND":
                self._put(kind, body)

    def _write_control(self, shown: _Shown) -> None:
        left, top, right, bottom = shown.box
        place = struct.pack(">4I", right - left, bottom - top, left, top)
        self._put(b"fcTL", struct.pack(">I", self._next()) + place + struct.pack(">2H2B", shown.duration, 1000, 0, 0))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _put(self, kind: bytes, body: bytes) -> None:
        self._file.write(struct.pack(">I", len(body)) + kind)
        self._file.write(body)
        self._file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))

    def end(self, plays: int) -> None:
        self._put(b"IEND", b"")
        self._file.seek(self._control_at)
        self._put(b"acTL", struct.pack(">2I", self.frames, plays))


def write_apng(
    frames: Iterator[Frame], file: IO[bytes], *, plays: int, options: dict[str, Any], still_options: dict[str, Any]
) -> Iterator[None]:
    """Write `frames` (L, LA, RGB or RGBA, all of one mode and size), yielding after each; frames that look the same are
    written as one. `options` are Pillow's for each frame, `still_options` those for the file as a whole.
    """
    writer = _Writer(file, options, still_options)
    shown: _Shown | None = None
    for image, duration in frames:
        box = (0, 0, *image.size) if shown is None else _changed(image, shown.image)
        if shown and not box and shown.duration + duration <= MAX_FRAME_DURATION:
            shown.duration += duration
        else:
            if shown:
                writer.write(shown, plays)
            shown = _Shown(image, box or (0, 0, 1, 1), duration)
        yield
    if shown:
        writer.write(shown, plays)
    writer.end(plays)


def _changed(image: Image.Image, before: Image.Image) -> Box | None:
    return ImageChops.difference(image, before).getbbox(alpha_only=False)


def _chunks(image: Image.Image, options: dict[str, Any]) -> Iterator[Chunk]:
    """Of a PNG that Pillow writes of `image`."""
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    data = buffer.getvalue()
    for kind, start, end in png_chunks(data):
        yield kind, data[start:end]

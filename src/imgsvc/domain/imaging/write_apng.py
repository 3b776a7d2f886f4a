"""Writer of animated PNGs, frame by frame: each contains only the box that differs from the previous frame.

Pillow's own writer keeps all frames in memory. This one encodes each frame as a PNG with Pillow and turns its chunks
into those of an APNG (PNG, third edition, 4.9 and 11.3.5).
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
class _PendingFrame:
    """The last frame read: it is written once the next one differs, because its duration may grow until then."""

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

    def write(self, pending: _PendingFrame, plays: int) -> None:
        if not self.frames:
            self._write_first(pending, plays)
        else:
            self._write_control(pending)
            for kind, body in _chunks(pending.image.crop(pending.box), self._options):
                if kind == b"IDAT":
                    self._put(b"fdAT", struct.pack(">I", self._next_sequence()) + body)
        self.frames += 1

    def _write_first(self, pending: _PendingFrame, plays: int) -> None:
        self._file.write(b"\x89PNG\r\n\x1a\n")
        has_started = False
        for kind, body in _chunks(pending.image, self._options | self._still_options):
            if kind == b"IDAT" and not has_started:
                self._control_at, has_started = self._file.tell(), True
                self._put(b"acTL", struct.pack(">2I", 0, plays))
                self._write_control(pending)
            if kind != b"IEND":
                self._put(kind, body)

    def _write_control(self, pending: _PendingFrame) -> None:
        left, top, right, bottom = pending.box
        position = struct.pack(">4I", right - left, bottom - top, left, top)
        timing = struct.pack(">2H2B", pending.duration, 1000, 0, 0)
        self._put(b"fcTL", struct.pack(">I", self._next_sequence()) + position + timing)

    def _next_sequence(self) -> int:
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
    """Write `frames` (L, LA, RGB or RGBA, all of one mode and size), yielding after each.

    Consecutive frames that look the same are written as one. `options` are Pillow's for each frame, `still_options`
    those for the file as a whole.
    """
    writer = _Writer(file, options, still_options)
    pending: _PendingFrame | None = None
    for image, duration in frames:
        box = (0, 0, *image.size) if pending is None else _changed_box(image, pending.image)
        if pending and not box and pending.duration + duration <= MAX_FRAME_DURATION:
            pending.duration += duration
        else:
            if pending:
                writer.write(pending, plays)
            pending = _PendingFrame(image, box or (0, 0, 1, 1), duration)
        yield
    if pending:
        writer.write(pending, plays)
    writer.end(plays)


def _changed_box(image: Image.Image, previous: Image.Image) -> Box | None:
    return ImageChops.difference(image, previous).getbbox(alpha_only=False)


def _chunks(image: Image.Image, options: dict[str, Any]) -> Iterator[Chunk]:
    """Yield the chunks of `image` as Pillow writes it to a PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    data = buffer.getvalue()
    for kind, start, end in png_chunks(data):
        yield kind, data[start:end]

"""Limits of what the compression of one image takes: pixels, memory and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from PIL import ImageFile

from imgsvc.domain.imaging.decode import CodecLimits, ReservationTooSmall, TooSlowForThread
from imgsvc.domain.imaging.file_structure.frame_counts import Layout
from imgsvc.domain.imaging.memory_cost import (
    MAX_THREAD_SECONDS,
    SECONDS_PER_PIECE,
    FormatAndShape,
    animation_weight,
    seconds,
    weight,
)
from imgsvc.errors import TooManyPixels


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of one call of `compress`; `reserved_pixels` is None if memory does not matter."""

    limits: CodecLimits
    reserved_pixels: int | None
    may_take_long: bool

    def check_layout(self, layout: Layout) -> None:
        """Check a file before it is opened, which alone may take long.

        Raises:
            TooSlowForThread: it has too many pieces.
        """
        if not self.may_take_long and layout.pieces * SECONDS_PER_PIECE > MAX_THREAD_SECONDS:
            raise TooSlowForThread(self.reserved_pixels or 0)

    def check(
        self,
        image: ImageFile.ImageFile,
        data: bytes,
        layout: Layout,
        outputs: Sequence[FormatAndShape],
        *,
        frames: int,
        passes: int,
    ) -> None:
        """Check an opened image and its renditions; an animation of `frames` frames is decoded `passes` times.

        Raises:
            TooManyPixels: a rendition would have more than an image may have.
            TooSlowForThread, ReservationTooSmall: see their docstrings.
        """
        for _, shape in outputs:
            self._check_pixels(shape.size, frames)
        pixels = animation_weight(image, outputs, frames, len(data)) if frames > 1 else weight(image, outputs)
        if not self.may_take_long:
            time = seconds(image, data, outputs, frames=frames, passes=passes, pieces=layout.pieces)
            if time > MAX_THREAD_SECONDS:
                raise TooSlowForThread(pixels)
        if self.reserved_pixels is not None and pixels > self.reserved_pixels:
            raise ReservationTooSmall(pixels)

    def _check_pixels(self, size: tuple[int, int], frames: int) -> None:
        """Check the size of a rendition; only one that was enlarged can have more pixels than its image."""
        pixels, most = prod(size), self.limits.max_pixels
        if frames > 1 and pixels <= most:
            pixels, most = pixels * frames, self.limits.max_animation_pixels
        if pixels > most:
            width, height = size
            raise TooManyPixels(
                f"The rendition of {width:,} × {height:,} pixels would have more than {most / 1e6:g} million pixels"
                + (" in all frames." if frames > 1 else ".")
            )

"""The frames of an animation, decoded one at a time, so that memory depends on one frame and not on their number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageFile

from imgsvc.domain.imaging.decode import ANIMATED_FORMATS, READING_FAILURES
from imgsvc.domain.imaging.file_structure.frame_counts import Layout

MAX_FRAME_DURATION = 65_535
"""Milliseconds; the longest duration that every format can hold."""


class Frame(NamedTuple):
    """One frame; `duration` is in ms."""

    image: Image.Image
    duration: int


class FrameDamaged(Exception):
    """Only the first `undamaged` frames can be decoded: start again with those."""

    def __init__(self, undamaged: int) -> None:
        super().__init__(f"{undamaged} frames")
        self.undamaged = undamaged


class MixedModes(Exception):
    """A frame differs in mode from the first, which not every format allows: start again with all frames in RGBA."""


@dataclass(frozen=True, slots=True)
class Animation:
    """At least two frames that are played `plays` times (0: forever).

    Each call of `frames` starts with the first frame; its iterator may raise FrameDamaged.
    """

    frames: Callable[[], Iterator[Frame]]
    count: int
    plays: int

    def map(self, step: Callable[[Image.Image], Image.Image]) -> "Animation":
        """Return the animation with `step` applied to each frame."""
        return Animation(
            lambda: (Frame(step(image), duration) for image, duration in self.frames()), self.count, self.plays
        )

    def in_one_mode(self) -> "Animation":
        """Return the animation with frames that raise MixedModes unless all have the mode of the first."""
        return Animation(self._frames_in_one_mode, self.count, self.plays)

    def _frames_in_one_mode(self) -> Iterator[Frame]:
        frames = self.frames()
        first = next(frames)
        yield first
        for frame in frames:
            if frame.image.mode != first.image.mode:
                raise MixedModes
            yield frame


class PillowAnimation(Image.Image):
    """An animation as a multi-frame image of Pillow, whose WebP and AVIF writers seek in it.

    `durations` has the durations of the frames read so far.
    """

    is_animated = True

    def __init__(self, animation: Animation) -> None:
        super().__init__()
        self.n_frames = animation.count
        self.durations: list[int] = []
        self._animation = animation
        self._frames = animation.frames()
        self._at = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError
        if frame < self._at:
            self._frames, self._at = self._animation.frames(), -1
        while self._at < frame:
            image, duration = next(self._frames)
            self._im, self._mode, self._size = image.im, image.mode, image.size
            self._at += 1
            if self._at == len(self.durations):
                self.durations.append(duration)

    def tell(self) -> int:
        return self._at


def count_frames(image: ImageFile.ImageFile, layout: Layout) -> int:
    """Return the number of frames of an animation; 1 for other images and for the pages of a TIFF or an MPO.

    Pillow knows it from the header, except for a GIF, through which it would have to seek.
    """
    if image.format not in ANIMATED_FORMATS:
        return 1
    count = layout.frames if image.format == "GIF" else int(getattr(image, "n_frames", 1)) - _stills(image)
    return max(1, min(layout.frames, count))


def _stills(image: ImageFile.ImageFile) -> int:
    """Return 1 for an APNG that begins with a still for programs without animation; the still is not a frame."""
    return 1 if image.info.get("default_image") else 0


def read_frames(image: ImageFile.ImageFile, count: int) -> Iterator[Image.Image]:
    """Decode `count` frames of a newly opened image in order, one at a time.

    An image can be read once: after a rewind, Pillow 13 resumes an APNG in the middle if it was not read to its end.

    Raises:
        FrameDamaged: a frame cannot be decoded.
    """
    image.decodermaxblock = ImageFile.MAXBLOCK  # otherwise each frame of a GIF would read the whole rest of the file
    stills = _stills(image)
    for index in range(stills, count + stills):
        try:
            image.seek(index)
            frame = image.copy()
        except MemoryError:
            raise
        except READING_FAILURES as exc:
            raise FrameDamaged(index - stills) from exc
        yield frame


def read_plays(image: Image.Image) -> int:
    """Return how often an animation is played, 0 for forever. A GIF stores repetitions; without any, it plays once."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return loop or 0
    if loop is None:
        return 1
    return loop + 1 if loop else 0

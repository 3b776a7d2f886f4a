"""The frames of an animation, one at a time: memory follows one frame, however many there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageFile

from imgsvc.domain.imaging.decode import MOVING_FORMATS, READING_FAILURES
from imgsvc.domain.imaging.file_structure.frame_counts import Layout

MAX_FRAME_DURATION = 65_535
"""Milliseconds; what every format can say."""


class Frame(NamedTuple):
    """`duration` is in ms."""

    image: Image.Image
    duration: int


class BrokeOff(Exception):
    """An animation has only `frames` undamaged ones: begin again with those."""

    def __init__(self, frames: int) -> None:
        super().__init__(f"{frames} frames")
        self.frames = frames


class OtherMode(Exception):
    """A frame is of another mode than the first, which not every format can hold: begin again with all in RGBA."""


@dataclass(frozen=True, slots=True)
class Film:
    """An animation of at least two frames that plays `plays` times (0: for ever).

    `frames` begins again with the first one at each call, and may raise BrokeOff.
    """

    frames: Callable[[], Iterator[Frame]]
    count: int
    plays: int

    def through(self, step: Callable[[Image.Image], Image.Image]) -> "Film":
        """The same animation with `step` applied to each frame."""
        return Film(lambda: (Frame(step(image), duration) for image, duration in self.frames()), self.count, self.plays)

    def of_one_mode(self) -> "Film":
        """The same animation, whose frames raise OtherMode unless all are of the mode of the first."""
        return Film(self._of_one_mode, self.count, self.plays)

    def _of_one_mode(self) -> Iterator[Frame]:
        frames = self.frames()
        first = next(frames)
        yield first
        for frame in frames:
            if frame.image.mode != first.image.mode:
                raise OtherMode
            yield frame


class Reel(Image.Image):
    """A film as one of Pillow's own images of several frames, which its writers of WebP and AVIF seek in.

    `durations` are those of the frames read so far.
    """

    is_animated = True

    def __init__(self, film: Film) -> None:
        super().__init__()
        self.n_frames = film.count
        self.durations: list[int] = []
        self._film = film
        self._frames = film.frames()
        self._at = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError
        if frame < self._at:
            self._frames, self._at = self._film.frames(), -1
        while self._at < frame:
            image, duration = next(self._frames)
            self._im, self._mode, self._size = image.im, image.mode, image.size
            self._at += 1
            if self._at == len(self.durations):
                self.durations.append(duration)

    def tell(self) -> int:
        return self._at


def count_frames(image: ImageFile.ImageFile, layout: Layout) -> int:
    """How many frames an animation has; 1 for other images, and for the pages of a TIFF or an MPO.

    Pillow knows the number of all but a GIF, whose frames it would have to walk through.
    """
    if image.format not in MOVING_FORMATS:
        return 1
    known = layout.frames if image.format == "GIF" else int(getattr(image, "n_frames", 1)) - _stills(image)
    return max(1, min(layout.frames, known))


def _stills(image: ImageFile.ImageFile) -> int:
    """An APNG may begin with a still for programs that know no animation: it is no frame."""
    return 1 if image.info.get("default_image") else 0


def read_frames(image: ImageFile.ImageFile, count: int) -> Iterator[Image.Image]:
    """Decode `count` frames of a freshly opened image in order, one at a time.

    Once for each: Pillow 13 takes up an APNG that it left before its end in the middle when it is rewound.

    Raises:
        BrokeOff: a frame is damaged.
    """
    image.decodermaxblock = ImageFile.MAXBLOCK  # or of a GIF all that follows would be read with each frame
    stills = _stills(image)
    for index in range(stills, count + stills):
        try:
            image.seek(index)
            frame = image.copy()
        except MemoryError:
            raise
        except READING_FAILURES as exc:
            raise BrokeOff(index - stills) from exc
        yield frame


def read_plays(image: Image.Image) -> int:
    """How often an animation plays, 0 for ever. GIF counts repetitions, and plays once when it says nothing."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return loop or 0
    if loop is None:
        return 1
    return loop + 1 if loop else 0

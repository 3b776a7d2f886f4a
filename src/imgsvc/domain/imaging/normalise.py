"""The input, decoded and set right once for all specs.

"Right" is upright, in sRGB, 8 bits a channel, and with alpha only where it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageFile

from imgsvc.domain.imaging.animation import MAX_FRAME_DURATION, Film, Frame, read_frames, read_plays
from imgsvc.domain.imaging.colour import (
    as_bright,
    changes_colour,
    drop_unused_alpha,
    profile_of,
    to_eight_bits,
    to_plain_mode,
    to_srgb,
)
from imgsvc.domain.imaging.credits import credits_of
from imgsvc.domain.imaging.decode import read_exif
from imgsvc.domain.imaging.metadata import orientation_of
from imgsvc.domain.imaging.spec import Spec

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Source:
    """The input set right: its `first` frame, and of an animation the `film`, which is decoded when it is read.

    `altered`: its own bytes show something else in a browser.
    """

    format: str
    size: tuple[int, int]
    first: Image.Image
    film: Film | None
    exif: Image.Exif
    credits: dict[int, str | bytes]
    info: dict[str | tuple[int, int], object]
    altered: bool


def decode(opened: Callable[[], ImageFile.ImageFile], count: int, specs: Sequence[Spec]) -> Source:
    """Load an image that is `opened` afresh at each call, or the first of the `count` frames of an animation.

    Call it inside `reading`.
    """
    image = opened()
    header_size = image.size
    if image.format in {"JPEG", "MPO"}:
        _draft(image, specs)
    if count > 1:
        first = next(read_frames(image, count))
    else:
        image.load()
        first = image
    icc = profile_of(first.info)
    exif = read_exif(first)
    orientation = orientation_of(exif)
    info = dict(first.info)
    credit_tags = credits_of(image, exif) if any(spec.keep_metadata != "none" for spec in specs) else {}
    set_right = partial(
        _set_right, orientation=orientation, icc=icc, gamma=None if icc or "srgb" in info else info.get("gamma")
    )
    return Source(
        format=image.format or "",
        size=_turned(header_size, orientation),
        film=Film(partial(_frames, opened, count, set_right), count, read_plays(image)) if count > 1 else None,
        altered=orientation != 1 or changes_colour(first.mode, icc),
        exif=exif,
        credits=credit_tags,
        info=info,
        first=set_right(first),
    )


def _frames(
    opened: Callable[[], ImageFile.ImageFile], count: int, set_right: "partial[Image.Image]"
) -> Iterator[Frame]:
    for frame in read_frames(opened(), count):
        duration = min(round(frame.info.get("duration") or 0), MAX_FRAME_DURATION)  # setting right empties `info`
        yield Frame(set_right(frame), duration)


def _draft(image: ImageFile.ImageFile, specs: Sequence[Spec]) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 where every spec shrinks; at twice the size or more, nothing shows."""
    orientation = orientation_of(read_exif(image))
    sizes = [spec.fitted(_turned(image.size, orientation)) for spec in specs]
    largest = max(width for width, _ in sizes), max(height for _, height in sizes)
    width, height = _turned(largest, orientation)
    image.draft(None, (width * 2, height * 2))


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _set_right(frame: Image.Image, orientation: int, icc: bytes | None, gamma: object) -> Image.Image:
    if orientation in TURNS:
        frame = frame.transpose(TURNS[orientation])
    frame = drop_unused_alpha(as_bright(to_srgb(to_plain_mode(to_eight_bits(frame)), icc), gamma))
    frame.info = {}  # Pillow's encoders would write the profile and the comment they find there
    return frame

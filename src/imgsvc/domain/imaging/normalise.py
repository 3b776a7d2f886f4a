"""The input, decoded and normalised once for all specs.

A normalised image is upright, in sRGB, with 8 bits per channel, and has alpha only if a pixel is not opaque.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageFile

from imgsvc.domain.imaging.animation import MAX_FRAME_DURATION, Animation, Frame, read_frames, read_plays
from imgsvc.domain.imaging.colour import (
    apply_gamma,
    changes_colour,
    drop_unused_alpha,
    to_eight_bits,
    to_plain_mode,
    to_srgb,
    usable_profile,
)
from imgsvc.domain.imaging.credits import credits_of
from imgsvc.domain.imaging.decode import read_exif
from imgsvc.domain.imaging.metadata import orientation_of
from imgsvc.domain.imaging.shape import Box, Shape, Size, shape_of
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.imaging.trim import content_of
from imgsvc.domain.imaging.xmp import digital_source_of, packet_of, parse

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transpositions that make an image upright, by its EXIF orientation."""


@dataclass(frozen=True, slots=True)
class NormalisedInput:
    """The `first` frame, normalised, and the whole `animation`, which is decoded while it is read.

    `altered`: a browser shows the original bytes differently. `content`: what trimming leaves, if a spec trims.
    """

    format: str
    size: Size
    content: Box | None
    first: Image.Image
    animation: Animation | None
    exif: Image.Exif
    credits: dict[int, str | bytes]
    digital_source: str | None
    info: dict[str | tuple[int, int], object]
    altered: bool

    def shape(self, spec: Spec) -> Shape:
        return shape_of(spec, self.size, self.content)


def normalise(opened: Callable[[], ImageFile.ImageFile], count: int, specs: Sequence[Spec]) -> NormalisedInput:
    """Load and normalise an image, or the first of the `count` frames of an animation; call it inside `reading`.

    Each call of `opened` returns the image newly opened.
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
    icc = usable_profile(first.info)
    exif = read_exif(first)
    orientation = orientation_of(exif)
    info = dict(first.info)
    keeps_some = any(spec.keep_metadata != "none" for spec in specs)
    xmp = parse(packet_of(image.info)) if keeps_some else None
    credit_tags = credits_of(image, exif, xmp) if keeps_some else {}
    normalised = partial(
        _normalised, orientation=orientation, icc=icc, gamma=None if icc or "srgb" in info else info.get("gamma")
    )
    upright = normalised(first)
    animation = Animation(partial(_frames, opened, count, normalised), count, read_plays(image)) if count > 1 else None
    frames = (frame.image for frame in animation.frames()) if animation else iter((upright,))
    return NormalisedInput(
        format=image.format or "",
        size=_upright_size(header_size, orientation),
        content=content_of(frames) if any(spec.trim for spec in specs) else None,
        animation=animation,
        altered=orientation != 1 or changes_colour(first.mode, icc),
        exif=exif,
        credits=credit_tags,
        digital_source=digital_source_of(xmp),
        info=info,
        first=upright,
    )


def _frames(
    opened: Callable[[], ImageFile.ImageFile], count: int, normalised: "partial[Image.Image]"
) -> Iterator[Frame]:
    for frame in read_frames(opened(), count):
        duration = min(round(frame.info.get("duration") or 0), MAX_FRAME_DURATION)  # `normalised` empties `info`
        yield Frame(normalised(frame), duration)


def _draft(image: ImageFile.ImageFile, specs: Sequence[Spec]) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 if every spec shrinks; twice the largest size has no visible loss.

    What trimming leaves may have to be enlarged, so it needs all pixels.
    """
    if any(spec.trim for spec in specs):
        return
    orientation = orientation_of(read_exif(image))
    sizes = [shape_of(spec, _upright_size(image.size, orientation)).inner for spec in specs]
    largest = max(width for width, _ in sizes), max(height for _, height in sizes)
    width, height = _upright_size(largest, orientation)
    image.draft(None, (width * 2, height * 2))


def _upright_size(size: Size, orientation: int) -> Size:
    return (size[1], size[0]) if orientation >= 5 else size


def _normalised(frame: Image.Image, orientation: int, icc: bytes | None, gamma: object) -> Image.Image:
    if orientation in TRANSPOSITIONS:
        frame = frame.transpose(TRANSPOSITIONS[orientation])
    frame = drop_unused_alpha(apply_gamma(to_srgb(to_plain_mode(to_eight_bits(frame)), icc), gamma))
    frame.info = {}  # Pillow's encoders would write the profile and the comment
    return frame

"""Bytes and specs to renditions: decode once, set right once (sources.py), then the steps of each spec."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Literal

from PIL import Image, ImageColor, ImageFile

from imgsvc.domain.decoders import (
    MOVING_FORMATS,
    CodecLimits,
    MorePixels,
    check_pixels,
    count_frames,
    open_image,
    prepare_pillow,
    reading,
)
from imgsvc.domain.encoders import MOVING_TARGETS, Frames, encode, writing
from imgsvc.domain.metadata import exif_to_keep, gives_away, to_hand_on, xmp_to_keep
from imgsvc.domain.sources import Source, decode
from imgsvc.domain.specs import Format, Spec
from imgsvc.domain.weights import decoding, encoding

__all__ = ["RECIPE", "CodecLimits", "Compressed", "MorePixels", "Rendition", "compress", "prepare_pillow"]

RECIPE = 4
"""Counted up by every change that makes other bytes of the same input and spec: earlier renditions are then too old."""

# Input formats that `original` keeps; the rest becomes JPEG, or PNG where it is transparent.
KEPT = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}

Action = Literal["compressed", "kept_original"]


@dataclass(frozen=True, slots=True)
class Rendition:
    """`format` is lower-case and that of `data`; `kept_original` means that `data` is the input."""

    data: bytes
    format: str
    width: int
    height: int
    action: Action


@dataclass(frozen=True, slots=True)
class Compressed:
    """Renditions in the order of the specs; `width` and `height` are the input's, upright."""

    input_format: str
    width: int
    height: int
    renditions: tuple[Rendition, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one spec need to know."""

    spec: Spec
    target: str
    size: tuple[int, int]


def compress(
    data: bytes, specs: Sequence[Spec], limits: CodecLimits, *, max_pixels_now: int | None = None
) -> Compressed:
    """Decode `data` once and encode it as each of `specs` asks; CPU-bound, call it from a worker thread.

    A rendition is never larger than the input, unless something had to change: the format, the size, the
    orientation, the colours, or what has to go or cannot be accounted for (privacy comes before size; containers.py).

    Raises:
        NotAnImage, UnsupportedFormat: what `data` is instead.
        TooManyPixels: width × height × frames is over the limit, known from the header alone.
        MorePixels: within the limit, but weighted more than `max_pixels_now`; known from the header alone.
        DecodeError, EncodeError: the picture is damaged; the wanted format cannot hold it.
    """
    source = _read(data, specs, limits, max_pixels_now)
    renditions = tuple(_render(source, spec, data) for spec in specs)
    return Compressed(source.format.lower(), *source.size, renditions)


def _read(data: bytes, specs: Sequence[Spec], limits: CodecLimits, max_pixels_now: int | None) -> Source:
    """A function of its own, so that what was decoded is gone from memory once it has been set right."""
    image = open_image(data, limits)
    frames = count_frames(image) if any(_may_move(image.format, spec) for spec in specs) else 1
    check_pixels(image, frames, limits)
    with reading(limits):
        pixels = _weighted_pixels(image, frames, specs)
    if max_pixels_now is not None and pixels > max_pixels_now:
        raise MorePixels(pixels)
    with reading(limits):
        return decode(image, frames, specs)


def _weighted_pixels(image: ImageFile.ImageFile, frames: int, specs: Sequence[Spec]) -> int:
    """All are decoded; what is made of them, one after the other, may be smaller."""
    made = max(prod(spec.fitted(image.size)) * encoding(image, _likely_target(image, spec)) for spec in specs)
    return int((prod(image.size) * decoding(image) + made) * frames)


def _may_move(input_format: str | None, spec: Spec) -> bool:
    if spec.format is Format.original:
        return input_format in MOVING_FORMATS
    return spec.format.value in MOVING_TARGETS


def _likely_target(image: Image.Image, spec: Spec) -> str:
    """Before anything is decoded; what may turn out transparent becomes a PNG, which takes more."""
    return spec.format.value if spec.format is not Format.original else KEPT.get(image.format or "", "png")


def shrink(image: Image.Image, job: Job) -> Image.Image:
    if image.size == job.size:
        return image
    return image.resize(job.size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def flatten(image: Image.Image, job: Job) -> Image.Image:
    """Lay alpha on the background where the target has none: what is transparent is black underneath."""
    if job.target != "jpeg" or image.mode not in {"LA", "RGBA"}:
        return image
    flat = Image.new("RGB", image.size, ImageColor.getcolor(job.spec.background, "RGB"))
    flat.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return flat


def cut_out(image: Image.Image, job: Job) -> Image.Image:
    """GIF knows no half: what shines through more than it covers is gone, or there would be rings around everything."""
    if job.target != "gif" or image.mode not in {"LA", "RGBA"}:
        return image
    cut = image.copy()  # other specs have the same frame
    cut.putalpha(image.getchannel("A").point([0] * 128 + [255] * 128))
    return cut


Step = Callable[[Image.Image, Job], Image.Image]
STEPS: tuple[Step, ...] = (shrink, flatten, cut_out)


def _render(source: Source, spec: Spec, data: bytes) -> Rendition:
    job = Job(spec, _target(source, spec), spec.fitted(source.size))
    keepable = _keepable(source, job)
    with writing():
        result = encode(
            _frames(source, job),
            job.target,
            quality=spec.quality,
            exif=exif_to_keep(source.exif, source.owners, spec.keep_metadata, job.target),
            xmp=xmp_to_keep(source.info, spec.keep_metadata, job.target),
        )
    if keepable and len(result) >= len(data):
        original = to_hand_on(data, source.format, source.owners, spec.keep_metadata)
        if original is not None:
            action: Action = "kept_original" if original == data else "compressed"
            return Rendition(original, source.format.lower(), *source.size, action)
    return Rendition(result, job.target, *job.size, "compressed")


def _target(source: Source, spec: Spec) -> str:
    if spec.format is not Format.original:
        return spec.format.value
    if source.format == "GIF" and len(source.frames.images) > 1:
        return "gif"
    transparent = source.frames.images[0].mode in {"LA", "RGBA"}
    return KEPT.get(source.format) or ("png" if transparent else "jpeg")


def _keepable(source: Source, job: Job) -> bool:
    """Whether the input may stand for the rendition: same format (a GIF will do), and nothing had to change."""
    same = source.format.lower() == job.target or (source.format == "GIF" and job.spec.format is Format.original)
    unchanged = job.size == source.size and not source.altered
    return same and unchanged and not gives_away(source.info, source.exif, job.spec.keep_metadata)


def _frames(source: Source, job: Job) -> Frames:
    images = source.frames.images if job.target in MOVING_TARGETS else source.frames.images[:1]
    done = tuple(reduce(lambda image, step: step(image, job), STEPS, image) for image in images)
    return Frames(done, source.frames.durations, source.frames.plays)

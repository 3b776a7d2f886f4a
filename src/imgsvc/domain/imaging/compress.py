"""Bytes and specs to renditions: decode once, set right once (sources.py), then the steps of each spec."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from PIL import Image

from imgsvc.domain.imaging.animation import BrokeOff, count_frames
from imgsvc.domain.imaging.decode import (
    MOVING_FORMATS,
    CodecLimits,
    ReservationTooSmall,
    TooSlowForThread,
    check_size,
    open_image,
    prepare_pillow,
    reading,
)
from imgsvc.domain.imaging.encode import MAX_BYTES, Oversized, encode, encode_film, writing
from imgsvc.domain.imaging.file_structure.frame_counts import layout_of
from imgsvc.domain.imaging.formats import GIF, JPEG, KEPT_FORMATS, OUTPUT_FORMATS, PNG, Format, OutputFormat
from imgsvc.domain.imaging.memory_cost import LONG, SECONDS_A_PIECE, film_weight, seconds, weight
from imgsvc.domain.imaging.metadata import bytes_to_keep, exif_to_keep, leaks_metadata, xmp_to_keep
from imgsvc.domain.imaging.normalise import Source, decode
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.imaging.steps import Job, done

__all__ = [
    "COMPRESSOR_VERSION",
    "CodecLimits",
    "Compressed",
    "Rendition",
    "ReservationTooSmall",
    "TooSlowForThread",
    "compress",
    "prepare_pillow",
]

COMPRESSOR_VERSION = 4
"""Counted up by every change that makes other bytes of the same input and spec: earlier renditions are then too old."""

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


def compress(
    data: bytes,
    specs: Sequence[Spec],
    limits: CodecLimits,
    *,
    max_pixels_now: int | None = None,
    may_take_long: bool = True,
) -> Compressed:
    """Decode `data` and encode it as each of `specs` asks; CPU-bound, call it from a worker thread.

    A rendition is never larger than the input, unless something had to change: the format, the size, the
    orientation, the colours, or what has to go or cannot be accounted for (privacy comes before size; containers.py).

    Raises:
        NotAnImage, UnsupportedFormat: what `data` is instead.
        TooManyFrames, TooManyPixels: over a limit, known from the header and the layout of the file alone.
        ReservationTooSmall: within the limit, but weighted more than `max_pixels_now`; known from the header alone.
        TooSlowForThread: at worst longer than a thread should be kept, unless it `may_take_long`; known likewise.
        DecodeError, EncodeError: the image is damaged; the wanted format cannot hold it.
    """
    undamaged = None
    while True:
        try:
            with reading(limits):
                source = _read(data, specs, limits, undamaged, max_pixels_now, may_take_long)
            renditions = tuple(_render(source, spec, data, limits) for spec in specs)
            return Compressed(source.format.lower(), *source.size, renditions)
        except BrokeOff as end:  # what is whole is shown; its still if not even the first frame is
            undamaged = max(1, end.frames)


def _read(
    data: bytes,
    specs: Sequence[Spec],
    limits: CodecLimits,
    undamaged: int | None,
    max_pixels_now: int | None,
    may_take_long: bool,
) -> Source:
    """A function of its own, so that what was decoded is gone from memory once it has been set right."""
    layout = layout_of(data, limits.max_frames)
    if not may_take_long and layout.pieces * SECONDS_A_PIECE > LONG:  # already to open it
        raise TooSlowForThread(max_pixels_now or 0)
    opened = partial(open_image, data, limits, layout)
    image = opened()
    frames = count_frames(image, layout) if any(_may_move(image.format, spec) for spec in specs) else 1
    check_size(image, frames, layout, limits)
    frames = min(frames, undamaged or frames)
    made = [(_likely_target(image, spec), spec.fitted(image.size)) for spec in specs]
    pixels = film_weight(image, made, frames, len(data)) if frames > 1 else weight(image, made)
    if not may_take_long and seconds(image, data, made, frames=frames, pieces=layout.pieces) > LONG:
        raise TooSlowForThread(pixels)
    if max_pixels_now is not None and pixels > max_pixels_now:
        raise ReservationTooSmall(pixels)
    source = decode(opened if frames > 1 else lambda: image, frames, specs)
    return replace(source, altered=True) if undamaged else source


def _may_move(input_format: str | None, spec: Spec) -> bool:
    if spec.format is Format.original:
        return input_format in MOVING_FORMATS
    return OUTPUT_FORMATS[spec.format.value].animated


def _likely_target(image: Image.Image, spec: Spec) -> OutputFormat:
    """Guess the target before anything is decoded: PNG for what may become PNG or JPEG, because PNG takes more."""
    if spec.format is not Format.original:
        return OUTPUT_FORMATS[spec.format.value]
    return KEPT_FORMATS.get(image.format or "", PNG)


def _render(source: Source, spec: Spec, data: bytes, limits: CodecLimits) -> Rendition:
    job = Job(spec, _target(source, spec), spec.fitted(source.size))
    with reading(limits), writing():
        if not _keepable(source, job):
            return Rendition(_encoded(source, job), job.target.name, *job.size, "compressed")
        result = _smaller(source, job, len(data))
        if result is None or len(result) >= len(data):
            original = bytes_to_keep(data, source.format, source.credits, spec.keep_metadata)
            if original is not None:
                action: Action = "kept_original" if original == data else "compressed"
                return Rendition(original, source.format.lower(), *source.size, action)
        return Rendition(result or _encoded(source, job), job.target.name, *job.size, "compressed")


def _smaller(source: Source, job: Job, size: int) -> bytes | None:
    """Encode to less than `size` bytes; an animation that does not become smaller is written no further."""
    try:
        return _encoded(source, job, most=size - 1)
    except Oversized:
        return None


def _encoded(source: Source, job: Job, *, most: int = MAX_BYTES) -> bytes:
    """Encode the image, or an animation of at most `most` bytes."""
    facts: dict[str, Any] = {
        **job.spec.encoder_options(),
        "exif": exif_to_keep(source.exif, source.credits, job.spec.keep_metadata, job.target),
        "xmp": xmp_to_keep(source.info, job.spec.keep_metadata, job.target),
    }
    if source.film and job.target.animated:
        return encode_film(source.film.through(partial(done, job=job)), job.target, **facts, most=most)
    return encode(done(source.first, job), job.target, **facts)


def _target(source: Source, spec: Spec) -> OutputFormat:
    if spec.format is not Format.original:
        return OUTPUT_FORMATS[spec.format.value]
    if source.format == "GIF" and source.film:
        return GIF
    transparent = source.first.mode in {"LA", "RGBA"}
    return KEPT_FORMATS.get(source.format) or (PNG if transparent else JPEG)


def _keepable(source: Source, job: Job) -> bool:
    """Whether the input may stand for the rendition: same format (a GIF will do), and nothing had to change."""
    same = source.format.lower() == job.target.name or (source.format == "GIF" and job.spec.format is Format.original)
    unchanged = job.size == source.size and not source.altered
    return same and unchanged and not leaks_metadata(source.info, source.exif, job.spec.keep_metadata)

"""The compressor: bytes and specs to renditions.

The image is decoded and normalised once (normalise.py), then the steps of each spec are applied (steps.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from PIL import Image

from imgsvc.domain.imaging.allowance import Allowance
from imgsvc.domain.imaging.animation import FrameDamaged, count_frames
from imgsvc.domain.imaging.decode import (
    ANIMATED_FORMATS,
    CodecLimits,
    ReservationTooSmall,
    TooSlowForThread,
    check_size,
    open_image,
    prepare_pillow,
    reading,
)
from imgsvc.domain.imaging.encode import MAX_BYTES, Oversized, encode, encode_animation, writing
from imgsvc.domain.imaging.file_structure.frame_counts import layout_of
from imgsvc.domain.imaging.formats import GIF, JPEG, KEPT_FORMATS, OUTPUT_FORMATS, PNG, Format, OutputFormat
from imgsvc.domain.imaging.metadata import bytes_to_keep, exif_to_keep, leaks_metadata, xmp_to_keep
from imgsvc.domain.imaging.normalise import NormalisedInput, normalise
from imgsvc.domain.imaging.shape import is_bounded, shape_of
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.imaging.steps import Output, apply_steps

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
"""Increase it with every change to the bytes made from an input and a spec: earlier renditions are then not reused."""

Action = Literal["compressed", "kept_original"]


@dataclass(frozen=True, slots=True)
class Rendition:
    """One output image. `format` is a name in OUTPUT_FORMATS; `kept_original`: `data` is the input."""

    data: bytes
    format: str
    width: int
    height: int
    action: Action


@dataclass(frozen=True, slots=True)
class Compressed:
    """Renditions in the order of the specs; `width` and `height` are those of the input, upright."""

    input_format: str
    width: int
    height: int
    renditions: tuple[Rendition, ...]


def compress(
    data: bytes,
    specs: Sequence[Spec],
    limits: CodecLimits,
    *,
    reserved_pixels: int | None = None,
    may_take_long: bool = True,
) -> Compressed:
    """Decode `data` and encode it once per spec; CPU-bound, call it from a worker thread.

    A rendition is never larger than the input, unless something had to change: the format, the size, the orientation,
    the colours, or bytes that must be removed or whose meaning is unknown (privacy before size, see file_structure/).

    Raises:
        NotAnImage, UnsupportedFormat: `data` is something else.
        TooManyFrames, TooManyPixels: over a limit.
        ReservationTooSmall: within the limits, but heavier than `reserved_pixels`.
        TooSlowForThread: may block a thread for long, and `may_take_long` is false.
        DecodeError: the image is damaged.
        EncodeError: the requested format cannot hold the image.

    Limits are checked after the header has been read, and those of renditions whose size depends on the pixels (`trim`)
    after the image has been decoded.
    """
    allowance = Allowance(limits, reserved_pixels, may_take_long)
    undamaged = None
    while True:
        try:
            with reading(limits):
                source = _read(data, specs, allowance, undamaged)
            renditions = tuple(_render(source, spec, data, limits) for spec in specs)
            return Compressed(source.format.lower(), *source.size, renditions)
        except FrameDamaged as error:  # use the frames before it; if the first is damaged, the still of an APNG
            undamaged = max(1, error.undamaged)


def _read(data: bytes, specs: Sequence[Spec], allowance: Allowance, undamaged: int | None) -> NormalisedInput:
    """Check, decode and normalise; a separate function, so that the decoded image is freed once it is normalised."""
    limits = allowance.limits
    layout = layout_of(data, limits.max_frames)
    allowance.check_layout(layout)
    opened = partial(open_image, data, limits, layout)
    image = opened()
    frames = count_frames(image, layout) if any(_may_be_animated(image.format, spec) for spec in specs) else 1
    check_size(image, frames, layout, limits)
    frames = min(frames, undamaged or frames)
    passes = len(specs) + any(spec.trim for spec in specs)
    check = partial(allowance.check, image, data, layout, frames=frames, passes=passes)
    formats = [_likely_format(image, spec) for spec in specs]
    # The header does not tell which way up the image is, nor what trimming leaves: all is known once it is decoded.
    check([(each, shape_of(spec, image.size)) for each, spec in zip(formats, specs, strict=True) if is_bounded(spec)])
    source = normalise(opened if frames > 1 else lambda: image, frames, specs)
    check([(each, source.shape(spec)) for each, spec in zip(formats, specs, strict=True)])
    return replace(source, altered=True) if undamaged else source


def _may_be_animated(input_format: str | None, spec: Spec) -> bool:
    if spec.format is Format.original:
        return input_format in ANIMATED_FORMATS
    return OUTPUT_FORMATS[spec.format.value].animated


def _likely_format(image: Image.Image, spec: Spec) -> OutputFormat:
    """Return the output format that the header suggests: PNG if it may be PNG or JPEG, as PNG needs more memory."""
    if spec.format is not Format.original:
        return OUTPUT_FORMATS[spec.format.value]
    return KEPT_FORMATS.get(image.format or "", PNG)


def _render(source: NormalisedInput, spec: Spec, data: bytes, limits: CodecLimits) -> Rendition:
    transparent = source.first.mode in {"LA", "RGBA"}
    output = Output(spec, _output_format(source, spec), source.shape(spec), transparent)
    with reading(limits), writing():
        if not _may_keep_original(source, output):
            return Rendition(_encoded(source, output), output.format.name, *output.size, "compressed")
        result = _encoded_if_smaller(source, output, len(data))
        if result is None or len(result) >= len(data):
            original = bytes_to_keep(data, source.format, source.credits, spec.keep_metadata)
            if original is not None:
                action: Action = "kept_original" if original == data else "compressed"
                return Rendition(original, source.format.lower(), *source.size, action)
        return Rendition(result or _encoded(source, output), output.format.name, *output.size, "compressed")


def _encoded_if_smaller(source: NormalisedInput, output: Output, size: int) -> bytes | None:
    """Encode; for an animation, stop and return None once it has `size` bytes."""
    try:
        return _encoded(source, output, max_bytes=size - 1)
    except Oversized:
        return None


def _encoded(source: NormalisedInput, output: Output, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Encode the image, or an animation of at most `max_bytes`."""
    options: dict[str, Any] = {
        **output.spec.encoder_options(),
        "exif": exif_to_keep(source.exif, source.credits, output.spec.keep_metadata, output.format),
        "xmp": xmp_to_keep(source.info, source.digital_source, output.spec.keep_metadata, output.format),
    }
    if source.animation and output.format.animated:
        frames = source.animation.map(partial(apply_steps, output=output))
        return encode_animation(frames, output.format, **options, max_bytes=max_bytes)
    return encode(apply_steps(source.first, output), output.format, **options)


def _output_format(source: NormalisedInput, spec: Spec) -> OutputFormat:
    if spec.format is not Format.original:
        return OUTPUT_FORMATS[spec.format.value]
    if source.format == "GIF" and source.animation:
        return GIF
    transparent = source.first.mode in {"LA", "RGBA"}
    return KEPT_FORMATS.get(source.format) or (PNG if transparent else JPEG)


def _may_keep_original(source: NormalisedInput, output: Output) -> bool:
    """Return whether the input can be the rendition: the same format (or a still GIF), and nothing has to change."""
    same = source.format.lower() == output.format.name or (
        source.format == "GIF" and output.spec.format is Format.original
    )
    unchanged = output.shape.is_unchanged and not source.altered
    return same and unchanged and not leaks_metadata(source.info, source.exif, output.spec.keep_metadata)

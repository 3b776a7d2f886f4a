"""The memory and CPU time that an image needs, estimated before it is decoded.

The unit of memory is the pixel of a plain image: a weight of 1 is 8 bytes per pixel. Peaks above an idle worker, in
bytes per pixel, measured with images of 7 and 49 megapixels (Pillow 13): writing a JPEG 4 from a plain JPEG, 7 to 10
from a progressive one, 8 from CMYK, 12 from progressive CMYK, 13 from a transparent image; reducing a PNG to a palette
12 to 18; WebP 15 to decode, 8 to encode; AVIF 9 to decode, 23 to encode; JPEG 2000 19 to decode. The weights of the
encoders are in formats.py.
"""

import re
from collections.abc import Iterable, Sequence
from math import prod

from PIL import ImageFile

from imgsvc.domain.imaging.formats import OutputFormat
from imgsvc.domain.imaging.shape import Shape

FormatAndShape = tuple[OutputFormat, Shape]
"""The format and the shape of a rendition."""

DECODING_WEIGHTS = {"WEBP": 2.0, "AVIF": 2.0, "JPEG2000": 3.0}
"""Weights per pixel; 1 for all other formats."""
PROGRESSIVE_WEIGHT = 2.0
"""Weight of a JPEG whose coefficients are all kept until the last scan."""
FLATTENING_WEIGHT = 1.0
"""Additional weight of pasting a transparent image on the background."""

COPY_WEIGHT = 0.5
"""Weight per pixel of a canvas, and of an image that is larger than the one it was scaled from: 4 bytes."""

FRAMES_IN_MEMORY = 3
"""Frames of an animation in memory at a time: the previous one, the one being written, the decoder's."""
FRAME_WEIGHT = 512
"""Weight of what a decoder and a writer store about each frame of an animation: 4 kB."""
ANIMATION_BYTE_WEIGHT = 3 / 8
"""Weight per input byte of an animation: the output is about as large, and in memory three times."""

# Seconds of CPU per megapixel in the worst case, which is noise.
SECONDS_TO_DECODE = {"WEBP": 0.03, "AVIF": 0.06, "PNG": 0.04, "JPEG2000": 0.1}
"""0.02 for all other formats; includes shrinking and normalising."""
SECONDS_TO_ENLARGE = 0.02
SECONDS_PER_SCAN = 0.01
START_OF_SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""Start of a scan (ITU-T T.81, B.2.3): the length of its header has to match the number of its components."""
USUAL_SCANS = 8
"""Scans of a JPEG that is not progressive: three, and those of the smaller images in its metadata."""
SECONDS_PER_PIECE = 8e-6
"""Time that Pillow takes for a chunk of a PNG or a segment of a JPEG; the pieces of other formats take less."""
MAX_THREAD_SECONDS = 3.0
"""An image that takes longer is compressed in a process of its own, so that no other image waits for it."""


def decoding_weight(image: ImageFile.ImageFile) -> float:
    """Return the weight of decoding an opened image, per pixel."""
    if image.info.get("progressive"):
        return PROGRESSIVE_WEIGHT
    return DECODING_WEIGHTS.get(image.format or "", 1.0)


def output_weight(image: ImageFile.ImageFile, target: OutputFormat) -> float:
    """Return the weight of encoding a rendition of an opened image, per pixel of the rendition."""
    flattened = target.alpha == "none" and image.has_transparency_data
    return target.encoding_weight + (FLATTENING_WEIGHT if flattened else 0.0)


def weight(image: ImageFile.ImageFile, outputs: Iterable[FormatAndShape]) -> int:
    """Return the weight of an opened image in pixels: its decoding, and the heaviest of its renditions in turn."""
    heaviest = max(
        (
            prod(shape.size) * output_weight(image, target) + COPY_WEIGHT * _copied_pixels(shape)
            for target, shape in outputs
        ),
        default=0.0,
    )
    return int(prod(image.size) * decoding_weight(image) + heaviest)


def _copied_pixels(shape: Shape) -> float:
    """Return the pixels of a canvas, and those that enlarging takes beyond the pixels of the image itself.

    An image is enlarged across first, then down.
    """
    canvas = prod(shape.size) if shape.inner != shape.size else 0
    _, top, _, bottom = shape.part
    across = shape.inner[0] * (bottom - top)
    return canvas + (max(0.0, prod(shape.inner) + across - prod(shape.whole)) if _added_pixels(shape) else 0.0)


def _added_pixels(shape: Shape) -> float:
    left, top, right, bottom = shape.part
    return max(0.0, prod(shape.inner) - (right - left) * (bottom - top))


def animation_weight(image: ImageFile.ImageFile, outputs: Sequence[FormatAndShape], frames: int, size: int) -> int:
    """Return the weight of an animation of `size` bytes: a few frames at a time, and the whole output."""
    return int(FRAMES_IN_MEMORY * weight(image, outputs) + FRAME_WEIGHT * frames + ANIMATION_BYTE_WEIGHT * size)


def seconds(
    image: ImageFile.ImageFile,
    data: bytes,
    outputs: Sequence[FormatAndShape],
    *,
    frames: int,
    passes: int,
    pieces: int,
) -> float:
    """Estimate the CPU time in the worst case; an animation is decoded in `passes` passes."""
    scans = sum(1 for _ in START_OF_SCAN.finditer(data)) if image.format in {"JPEG", "MPO"} else 0
    if not image.info.get("progressive"):
        scans = max(0, scans - USUAL_SCANS)
    decode = SECONDS_TO_DECODE.get(image.format or "", 0.02) + SECONDS_PER_SCAN * scans
    encode = frames * sum(
        target.seconds_per_megapixel * prod(shape.size) + SECONDS_TO_ENLARGE * _added_pixels(shape)
        for target, shape in outputs
    )
    return (
        decode * prod(image.size) * (frames * passes if frames > 1 else 1) + encode
    ) / 1e6 + pieces * SECONDS_PER_PIECE

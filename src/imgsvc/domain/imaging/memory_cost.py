"""What an image takes while it is worked on, known before it is decoded: memory, and time of the processor.

Memory is in terms of a plain image: a weight of 1 stands for 8 bytes a pixel. Peaks of images of 7 and of 49
megapixels, in bytes a pixel beyond what an idle worker has (Pillow 13): to JPEG 4 from a plain one, 7 to 10 from a
progressive one, 8 in CMYK, 12 in both, 13 from anything transparent; PNG to a palette 12 to 18; WebP 15 to decode and 8
to encode; AVIF 9 and 23; JPEG 2000 19 to decode.
"""

import re
from collections.abc import Iterable, Sequence
from math import prod

from PIL import ImageFile

from imgsvc.domain.imaging.formats import OutputFormat

Made = tuple[OutputFormat, tuple[int, int]]
"""The target and the size of a rendition."""

DECODING = {"WEBP": 2.0, "AVIF": 2.0, "JPEG2000": 3.0}
"""All others: 1."""
PROGRESSIVE = 2.0
"""A JPEG that keeps all of its coefficients until the last scan."""
FLATTENING = 1.0
"""To lay transparency on a background."""

FRAMES_AT_A_TIME = 3
"""Frames of an animation that are in memory: the one before, the one being written, the decoder's."""
FRAME = 512
"""For each frame of an animation, what a decoder and a writer know of it: 4 kB."""
WRITTEN = 3 / 8
"""For each byte of an animation: what is made of it has about as many, which a writer, a file and the answer hold."""

# Seconds of the processor for a megapixel, at worst: of noise.
SECONDS_TO_DECODE = {"WEBP": 0.03, "AVIF": 0.06, "PNG": 0.04, "JPEG2000": 0.1}
"""All others: 0.02, shrinking and setting right included."""
SECONDS_A_SCAN = 0.01
SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""How one begins (ITU-T T.81, B.2.3): with the number of its channels, which its length has to fit."""
USUAL_SCANS = 8
"""Of a JPEG that is not progressive: three, and those of the smaller images in its metadata."""
SECONDS_A_PIECE = 8e-6
"""A chunk of a PNG or a segment of a JPEG in Pillow; what other formats have of them takes less."""
LONG = 3.0
"""Seconds from which on an image is compressed in a process of its own, where nobody waits behind it."""


def decoding(image: ImageFile.ImageFile) -> float:
    """Of an opened image, for each of its pixels."""
    if image.info.get("progressive"):
        return PROGRESSIVE
    return DECODING.get(image.format or "", 1.0)


def encoding(image: ImageFile.ImageFile, target: OutputFormat) -> float:
    """Return the weight of the rendition of an opened image, per pixel of the rendition."""
    flattened = target.alpha == "none" and image.has_transparency_data
    return target.encoding_weight + (FLATTENING if flattened else 0.0)


def weight(image: ImageFile.ImageFile, made: Iterable[Made]) -> int:
    """Weigh an opened image in pixels: all are decoded; what is made of them, one after the other, may be smaller."""
    return int(prod(image.size) * decoding(image) + max(prod(size) * encoding(image, target) for target, size in made))


def film_weight(image: ImageFile.ImageFile, made: Sequence[Made], frames: int, size: int) -> int:
    """Weigh an animation of `size` bytes: a few of its frames are in memory at a time, and all of what is written."""
    return int(FRAMES_AT_A_TIME * weight(image, made) + FRAME * frames + WRITTEN * size)


def seconds(image: ImageFile.ImageFile, data: bytes, made: Sequence[Made], *, frames: int, pieces: int) -> float:
    """Estimate the processor's time at worst; an animation is decoded once for each rendition."""
    scans = sum(1 for _ in SCAN.finditer(data)) if image.format in {"JPEG", "MPO"} else 0
    if not image.info.get("progressive"):
        scans = max(0, scans - USUAL_SCANS)
    decode = SECONDS_TO_DECODE.get(image.format or "", 0.02) + SECONDS_A_SCAN * scans
    passes = frames * len(made) if frames > 1 else 1
    encode = sum(target.seconds_per_megapixel * prod(size) for target, size in made) * frames
    return (decode * prod(image.size) * passes + encode) / 1e6 + pieces * SECONDS_A_PIECE

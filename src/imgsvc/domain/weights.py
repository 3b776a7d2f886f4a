"""How much memory a picture takes while it is worked on, in terms of a plain one, known before it is decoded.

Peaks of pictures of 49 megapixels, in bytes a pixel beyond what an idle worker has (Pillow 13): JPEG 4, progressive 7,
in CMYK 8; PNG to a palette 12 to 15; WebP 15 to decode and 8 to encode; AVIF 9 and 23; JPEG 2000 19 to decode.
"""

from collections.abc import Collection

BYTES_A_PIXEL = 8
"""What a weight of 1 stands for: the most that a JPEG takes which becomes one."""
DECODING = {"WEBP": 2, "AVIF": 2, "JPEG2000": 3}
"""All others: 1."""
ENCODING = {"webp": 1, "png": 1, "gif": 1, "avif": 3}
"""On top of that; JPEG is written line by line."""


def weighted(pixels: int, input_format: str | None, targets: Collection[str]) -> int:
    """`pixels` of a picture of this format that is to become all of `targets`, one after the other."""
    return pixels * (DECODING.get(input_format or "", 1) + max(ENCODING.get(target, 0) for target in targets))

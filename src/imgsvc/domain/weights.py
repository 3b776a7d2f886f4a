"""How much memory a picture takes while it is worked on, in terms of a plain one, known before it is decoded.

A weight of 1 stands for 8 bytes a pixel. Peaks of pictures of 7 and of 49 megapixels, in bytes a pixel beyond what an
idle worker has (Pillow 13): to JPEG 4 from a plain one, 7 to 10 from a progressive one, 8 in CMYK, 12 in both, 13 from
anything transparent; PNG to a palette 12 to 18; WebP 15 to decode and 8 to encode; AVIF 9 and 23; JPEG 2000 19 to
decode.
"""

from PIL import ImageFile

DECODING = {"WEBP": 2.0, "AVIF": 2.0, "JPEG2000": 3.0}
"""All others: 1."""
PROGRESSIVE = 2.0
"""A JPEG that keeps all of its coefficients until the last scan."""
ENCODING = {"webp": 1.0, "png": 1.5, "gif": 1.0, "avif": 3.0}
"""On top of that; JPEG is written line by line."""
FLATTENING = 1.0
"""To lay transparency on a background."""


def decoding(image: ImageFile.ImageFile) -> float:
    """Of an opened picture, for each of its pixels."""
    if image.info.get("progressive"):
        return PROGRESSIVE
    return DECODING.get(image.format or "", 1.0)


def encoding(image: ImageFile.ImageFile, target: str) -> float:
    """Of what is made of it, for each pixel of that."""
    if target == "jpeg":
        return FLATTENING if image.has_transparency_data else 0.0
    return ENCODING[target]

"""Detection of file types by the first bytes, including formats that are not accepted."""

import re

# The order matters: HEIC and AVIF share their container.
_SIGNATURES = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("JPEG", rb"\xff\xd8\xff"),
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("GIF", rb"GIF8[79]a"),
        ("WEBP", rb"RIFF....WEBP"),
        ("HEIC", rb"....ftyp.{0,60}?(?:hei[cxms]|hev[cx])"),
        ("AVIF", rb"....ftyp(?:avi[fs]|mif1|msf1)"),
        ("BMP", rb"BM....\x00\x00\x00\x00"),
        ("TIFF", rb"II[*+]\x00|MM\x00[*+]"),
        ("ICO", rb"\x00\x00\x01\x00"),
        ("JPEG2000", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"),
        ("SVG", rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml.{0,2000}?|<!DOCTYPE svg.{0,2000}?|<!--.{0,2000}?)?<svg[\s>]"),
        ("PDF", rb"%PDF-"),
        ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("Photoshop", rb"8BPS"),
        ("JPEG XL", rb"\xff\x0a|\x00\x00\x00\x0cJXL "),
        ("GIMP", rb"gimp xcf"),
        ("Netpbm", rb"P[1-7]\s"),
        ("DDS", rb"DDS "),
        ("ICNS", rb"icns"),
        ("QOI", rb"qoif"),
        ("BLP", rb"BLP[12]"),
        ("Windows metafile", rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF"),
    )
)

_SIGNATURE_BYTES = 4_096
"""Length of the start of a file in which a signature is looked for."""


def format_by_signature(data: bytes) -> str | None:
    """Return the format of `data`, by Pillow's name if it has one; None if it is not an image."""
    return next((name for name, signature in _SIGNATURES if signature.match(data, 0, _SIGNATURE_BYTES)), None)


def decoder_holds_gil(data: bytes) -> bool:
    """Return whether decoding `data` blocks all other threads: 3 s for a JPEG 2000 of 50 megapixels."""
    return format_by_signature(data) == "JPEG2000"

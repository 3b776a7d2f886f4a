"""The formats that shops really send: how each picture of the demo becomes a file."""

from collections.abc import Callable, Sequence
from io import BytesIO

from PIL import ExifTags, Image

Encode = Callable[[Image.Image], bytes]

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
}
# How a camera that was turned stores a picture, by the orientation it notes.
STORED = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
QUALITY = 92


def jpeg(image: Image.Image) -> bytes:
    return _saved(image, "JPEG", quality=QUALITY)


def progressive_jpeg(image: Image.Image) -> bytes:
    return _saved(image, "JPEG", quality=QUALITY, progressive=True)


def grey_jpeg(image: Image.Image) -> bytes:
    return _saved(image.convert("L"), "JPEG", quality=QUALITY)


def cmyk_jpeg(image: Image.Image) -> bytes:
    """As sent by a print shop."""
    return _saved(image.convert("CMYK"), "JPEG", quality=QUALITY)


def tiny_jpeg(image: Image.Image) -> bytes:
    """Squeezed already: quality 50 would make it larger."""
    return _saved(image, "JPEG", quality=25, optimize=True, progressive=True)


def signed_jpeg(image: Image.Image) -> bytes:
    """With the photographer's name, and with the place, which nobody should publish."""
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "© Fjell Goods"
    exif[ExifTags.Base.Artist] = "Ada Lund"
    exif[ExifTags.Base.Make] = "Imaginary Cameras"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "N",
            ExifTags.GPS.GPSLatitude: (60.0, 23.0, 35.0),
            ExifTags.GPS.GPSLongitudeRef: "E",
            ExifTags.GPS.GPSLongitude: (5.0, 19.0, 20.0),
        }
    )
    return _saved(image, "JPEG", quality=QUALITY, exif=exif)


def sideways_jpeg(orientation: int) -> Encode:
    """Stored as the sensor lay; upright only for those who read the EXIF orientation."""

    def encode(image: Image.Image) -> bytes:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        return _saved(image.transpose(STORED[orientation]), "JPEG", quality=QUALITY, exif=exif)

    return encode


def png(image: Image.Image) -> bytes:
    return _saved(image, "PNG", compress_level=3)


def palette_png(image: Image.Image) -> bytes:
    return _saved(image.quantize(64, dither=Image.Dither.NONE), "PNG", compress_level=1)


def deep_grey_png(image: Image.Image) -> bytes:
    """16 bits a pixel, as scanners write it."""
    grey = image.convert("L")
    both_bytes = Image.merge("LA", (grey, grey)).tobytes()
    return _saved(Image.frombytes("I;16", image.size, both_bytes), "PNG", compress_level=3)


def webp(image: Image.Image) -> bytes:
    return _saved(image, "WEBP", quality=90, method=1)


def avif(image: Image.Image) -> bytes:
    return _saved(image, "AVIF", quality=85, speed=10, max_threads=1)


def tiff(image: Image.Image) -> bytes:
    return _saved(image, "TIFF", compression="tiff_lzw")


def bmp(image: Image.Image) -> bytes:
    return _saved(image, "BMP")


def moving_gif(frames: Sequence[Image.Image]) -> bytes:
    """A loop of whole frames, as simple programs write it; all have the palette of the first one."""
    first = frames[0].quantize(256)
    rest = [frame.quantize(palette=first, dither=Image.Dither.NONE) for frame in frames[1:]]
    return _saved(first, "GIF", save_all=True, append_images=rest, duration=80, loop=0, disposal=2)


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()

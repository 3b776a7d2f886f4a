"""Images for tests, generated: the same bytes in every run, like photos if that matters."""

import csv
import random
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageDraw

from support.paths import CORPORA

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 200, 0), (0, 0, 255), (255, 255, 0)
ORIENTATION, COPYRIGHT, ARTIST, MAKE, GPS = 0x0112, 0x8298, 0x013B, 0x010F, 0x8825

# The transposition of an upright image that its EXIF orientation reverts.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def scene(width: int = 640, height: int = 480, *, seed: int = 1) -> Image.Image:
    """Return soft shapes, some edges and a little grain, which compress about as well as a photo."""
    rng = random.Random(seed)
    soft = Image.frombytes("RGB", (16, 12), rng.randbytes(16 * 12 * 3)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(soft)
    for _ in range(12):
        x, y = rng.randrange(width), rng.randrange(height)
        draw.ellipse((x, y, x + width // 8, y + height // 8), fill=(rng.randrange(256), rng.randrange(256), 90))
    grain = Image.frombytes("L", (width, height), rng.randbytes(width * height)).convert("RGB")
    return Image.blend(soft, grain, 0.06)


def photograph(width: int = 640, height: int = 480, *, colourful: float = 0.3) -> Image.Image:
    """Return a scene with the colours of a photo; `scene` has all colours."""
    return Image.blend(Image.new("RGB", (width, height), "white"), scene(width, height), colourful)


def quarters(width: int = 60, height: int = 40) -> Image.Image:
    """Return an image of red and green above blue and yellow, which shows how it was transposed."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def corners(image: Image.Image) -> list[str]:
    """Return the names of the `quarters` at the corners, in reading order."""
    names = {"red": RED, "green": GREEN, "blue": BLUE, "yellow": YELLOW}
    width, height = image.size
    spots = [(x, y) for y in (height // 8, height * 7 // 8) for x in (width // 8, width * 7 // 8)]
    pixels = [pixel(image, spot) for spot in spots]
    return [min(names, key=lambda name: distance(names[name], seen)) for seen in pixels]


def pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    value = image.convert("RGBA" if image.has_transparency_data else "RGB").getpixel(at)
    assert isinstance(value, tuple)
    return tuple(int(channel) for channel in value)


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=False))


def exif(**tags: Any) -> Image.Exif:
    """Return EXIF of tags by the names above in lower case, for example `exif(copyright="Shop", gps={1: "N"})`."""
    numbers = {"orientation": ORIENTATION, "copyright": COPYRIGHT, "artist": ARTIST, "make": MAKE, "gps": GPS}
    block = Image.Exif()
    for name, value in tags.items():
        block[numbers[name]] = value
    return block


def photo_jpeg(width: int = 640, height: int = 480, *, quality: int = 92, seed: int = 1, **options: Any) -> bytes:
    return encoded(scene(width, height, seed=seed), "JPEG", quality=quality, **options)


def oriented(orientation: int, image_format: str = "JPEG", **options: Any) -> bytes:
    """Return `quarters`, stored transposed, with the EXIF orientation."""
    image = quarters()
    if orientation in STORED_AS:
        image = image.transpose(STORED_AS[orientation])
    return encoded(image, image_format, exif=exif(orientation=orientation), **options)


def alpha_png(width: int = 120, height: int = 80) -> bytes:
    """Return a photo-like disc with a soft edge on a transparent background, which is black underneath."""
    return encoded(cut_out(width, height), "PNG")


def cut_out(width: int = 120, height: int = 80) -> Image.Image:
    mask = Image.new("L", (width * 4, height * 4))
    ImageDraw.Draw(mask).ellipse((width, height, width * 3, height * 3), fill=255)
    image = Image.new("RGBA", (width, height))
    mask = mask.resize((width, height), Image.Resampling.LANCZOS)
    image.paste(scene(width, height), mask=mask)
    image.putalpha(mask)
    return image


def palette_png(width: int = 120, height: int = 80) -> bytes:
    """Return a palette image with one transparent entry, which is a quarter of the image."""
    image = quarters(width, height).quantize(4)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def cmyk_jpeg(colour: tuple[int, int, int, int] = (0, 255, 255, 0), **options: Any) -> bytes:
    return encoded(Image.new("CMYK", (64, 48), colour), "JPEG", quality=95, **options)


def grey16_png(values: tuple[int, ...] = (0, 16_384, 32_768, 65_535), band: int = 20) -> bytes:
    """Return vertical bands of 16-bit grey."""
    row = b"".join(struct.pack("<H", value) * band for value in values)
    return encoded(Image.frombytes("I;16", (band * len(values), 40), row * 40), "PNG")


def animation(image_format: str = "GIF", *, count: int = 3, size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    """Return frames in red, green, blue, … of 100, 200, 300, … ms; options that are None are omitted."""
    colours = [RED, GREEN, BLUE, YELLOW]
    frames = [Image.new("RGB", size, colours[index % 4]) for index in range(count)]
    for index, frame in enumerate(frames):
        ImageDraw.Draw(frame).rectangle((index, index, index + 8, index + 8), fill=(0, 0, 0))
    durations = [100 * (index + 1) for index in range(count)]
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"save_all": True, "append_images": frames[1:], "duration": durations}
    return encoded(frames[0], image_format, **options)


def multipage_tiff() -> bytes:
    pages = [Image.new("RGB", (40, 30), colour) for colour in (RED, BLUE)]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def wide_gamut_profile() -> bytes:
    """Return an ICC profile that swaps red and blue of sRGB, so that its effect is obvious."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = profile[blue : blue + 4], profile[red : red + 4]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile for grey of this gamma."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


def ink_profile(corners: Sequence[tuple[float, float, float]]) -> bytes:
    """Return an ICC profile for CMYK, linear between the Lab colours of its 16 corners; black changes fastest."""
    ramp = bytes(range(256))
    table = b"".join(
        struct.pack("3B", round(lightness * 2.55), round(a + 128), round(b + 128)) for lightness, a, b in corners
    )
    matrix = struct.pack(">9i", *(0x10000 if place % 4 == 0 else 0 for place in range(9)))
    lut = b"mft1\0\0\0\0" + struct.pack("4B", 4, 3, 2, 0) + matrix + ramp * 4 + table + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile, version 2, with white D50."""
    d50 = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Mine\0" + bytes(78),
        b"cprt": b"text\0\0\0\0no one\0",
        b"wtpt": b"XYZ \0\0\0\0" + d50,
        **tags,
    }
    directory, body = b"", b""
    for name, content in tags.items():
        place = 132 + 12 * len(tags) + len(body)
        directory += name + struct.pack(">2I", place, len(content))
        body += content + bytes(-len(content) % 4)
    total = 132 + len(directory) + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s28x12s48x", total, 0x2100000, device, space, connection, b"acsp", d50)
    return header + struct.pack(">I", len(tags)) + directory + body


def truncated(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def huge_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """Return a PNG with a header of many pixels and no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def corpus(folder: str) -> list[tuple[Path, dict[str, str]]]:
    """Return the files of `images` or `photos` with the row of each in their list; empty if the folder is missing."""
    index = CORPORA / f"{folder}.csv"
    if not index.exists():
        return []
    with index.open(encoding="utf-8", newline="") as lines:
        return [(CORPORA / folder / row["file"], row) for row in csv.DictReader(lines)]

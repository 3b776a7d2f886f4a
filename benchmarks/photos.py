"""Photo-like JPEGs of about one megapixel, generated with a fixed seed, or the JPEGs of a folder."""

import random
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

COUNT = 48
SIZE = (1152, 864)


def photo_files(folder: Path | None = None, width: int = SIZE[0]) -> list[bytes]:
    """Return all JPEG files of `folder`, or generated ones of `width` pixels."""
    if folder is not None:
        found = [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg")]
        if not found:
            raise SystemExit(f"{folder} has no JPEG files")
        return found
    return [_photo(seed, (width, width * SIZE[1] // SIZE[0])) for seed in range(COUNT)]


def _photo(seed: int, size: tuple[int, int]) -> bytes:
    """Return soft shapes with edges and grain, as detailed as a product photo; 130 kB at the default size."""
    chance = random.Random(seed)
    colours = Image.frombytes("RGB", (24, 18), chance.randbytes(24 * 18 * 3)).resize(size, Image.Resampling.BICUBIC)
    shapes = Image.frombytes("L", (12, 9), chance.randbytes(108)).resize(size, Image.Resampling.NEAREST)
    scene = Image.composite(colours, colours.filter(ImageFilter.GaussianBlur(12)), shapes)
    grain = Image.effect_noise(size, 8).convert("RGB")
    file = BytesIO()
    ImageChops.overlay(scene, grain).save(file, "JPEG", quality=75)
    return file.getvalue()

"""Comparison of encoder options: bytes, SSIM and CPU time.

    python benchmarks/compression.py [--images DIR]

SSIM is that of Wang et al. (2004) on luma, against the decoded input, by scikit-image in a separate virtual
environment. The tables are written to build/bench/compression.md, the plot to docs/images/compression.svg.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from PIL import Image

from environments import ENVIRONMENTS, environment
from imgsvc.domain.imaging.decode import CodecLimits, prepare_pillow
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.palettes import quantise
from photos import photo_files
from plots import draw
from processes import HERE

SCIKIT_IMAGE = ("scikit-image==0.26.0", "pillow==13.0.0")
FOLDER = ENVIRONMENTS / "compressed"
TABLES = ENVIRONMENTS / "compression.md"
FIGURES = ENVIRONMENTS / "compression.json"
MAX_SIDE = 1_600
"""Pixels; shops show no larger images, and the slow encoders would take minutes for them."""
MAX_IMAGES = 24
QUALITIES = (30, 40, 50, 60, 75, 90)
LOSSLESS = 100
"""Marks a PNG with all its colours."""


class Variant(NamedTuple):
    """One way to encode an image: as imgsvc does, with `changes` to Pillow's options."""

    name: str
    target: str
    quality: int
    changes: dict[str, Any]

    def save(self, image: Image.Image, buffer: BytesIO) -> None:
        reduced = quantise(image, self.quality) if self.target == "png" and self.quality < LOSSLESS else image
        reduced.save(buffer, self.target, **(OUTPUT_FORMATS[self.target].options(self.quality) | self.changes))


def variants(quality: int) -> Iterator[Variant]:
    for name, options in (
        ("4:2:0", {}),
        ("4:4:4", {"subsampling": "4:4:4"}),
        ("optimize", {"optimize": True}),
        ("progressive", {"progressive": True}),
    ):
        yield Variant(f"JPEG {name}", "jpeg", quality, options)
    for method in (0, 2, 4, 6):
        yield Variant(f"WebP method {method}", "webp", quality, {"method": method})
    for speed in (10, 8, 6, 4):
        yield Variant(f"AVIF speed {speed}", "avif", quality, {"speed": speed})


def defaults(quality: int) -> Iterator[Variant]:
    for name in ("JPEG", "WebP", "AVIF"):
        yield Variant(name, name.lower(), quality, {})


def palettes() -> Iterator[Variant]:
    for quality in (LOSSLESS, 20, 50, 80):
        yield Variant("PNG", "png", quality, {})


class Figures(NamedTuple):
    """Sums over all images, and their mean SSIM."""

    name: str
    quality: int
    size: int
    seconds: float
    ssim: float


def write(variant: Variant, images: list[Image.Image]) -> tuple[list[Path], int, float]:
    """Write the images as files; return their paths, their size together, and the CPU seconds."""
    paths, size, seconds = [], 0, 0.0
    for number, image in enumerate(images):
        buffer = BytesIO()
        began = process_time()
        variant.save(image, buffer)
        seconds += process_time() - began
        path = FOLDER / f"{number}-written.{variant.target}"
        size += path.write_bytes(buffer.getvalue())
        paths.append(path)
    return paths, size, seconds


async def similarity(python: Path, originals: list[Path], others: list[Path]) -> float:
    """Return the mean SSIM of all pairs."""
    pairs = json.dumps([[str(one), str(other)] for one, other in zip(originals, others, strict=True)])
    command = (str(python), str(HERE / "elsewhere" / "ssim.py"))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await process.communicate(pairs.encode())
    return float(answer)


async def measured(python: Path, variant: Variant, images: list[Image.Image], originals: list[Path]) -> Figures:
    paths, size, seconds = write(variant, images)
    figures = Figures(variant.name, variant.quality, size, seconds, await similarity(python, originals, paths))
    print(figures, flush=True)
    return figures


def table(rows: list[Figures], megapixels: float) -> Iterator[str]:
    """Yield the lines of a table; the bytes are relative to the first row."""
    yield "| variant | quality | bytes | bits a pixel | SSIM | CPU, ms a megapixel |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        share, bits = row.size / rows[0].size, row.size * 8 / megapixels / 1e6
        cpu = row.seconds * 1000 / megapixels
        yield f"| {row.name} | {row.quality} | {share:.0%} | {bits:.2f} | {row.ssim:.4f} | {cpu:.0f} |"


def prepared(folder: Path | None) -> tuple[list[Image.Image], list[Path]]:
    """Return the images, at most MAX_SIDE pixels a side, and the lossless files of them."""
    prepare_pillow(CodecLimits())
    FOLDER.mkdir(parents=True, exist_ok=True)
    images, originals = [], []
    for number, data in enumerate(photo_files(folder)[:MAX_IMAGES]):
        image = Image.open(BytesIO(data)).convert("RGB")
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        images.append(image)
        originals.append(FOLDER / f"{number}.png")
        image.save(originals[-1], compress_level=1)
    return images, originals


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    folder = parser.parse_args().images
    python = await environment("ssim", SCIKIT_IMAGE)
    if python is None:
        raise SystemExit("SSIM needs scikit-image, which could not be installed")
    images, originals = await asyncio.to_thread(prepared, folder)
    megapixels = sum(image.width * image.height for image in images) / 1e6
    efforts = [await measured(python, variant, images, originals) for variant in variants(50)]
    curves = [
        await measured(python, variant, images, originals) for quality in QUALITIES for variant in defaults(quality)
    ]
    pngs = [await measured(python, variant, images, originals) for variant in palettes()]
    lines = [f"{len(images)} images, {megapixels:.1f} megapixels", "", *table(efforts, megapixels), ""]
    lines += [*table(curves, megapixels), "", *table(pngs, megapixels)]
    points = [[row.name, row.quality, row.size * 8 / megapixels / 1e6, row.ssim] for row in curves]
    TABLES.write_text("\n".join(lines) + "\n")
    FIGURES.write_text(json.dumps(points))
    await draw("compression", FIGURES)


if __name__ == "__main__":
    asyncio.run(main())

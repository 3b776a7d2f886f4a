"""The codec's contact sheet: images before and after compression on one page, for inspection by eye.

    make contact-sheet [ARGS="--images DIR --format webp --quality 50 --trim true --fit pad --width 600 --height 600"]

Without --images it shows the images that the tests make. It writes build/contact-sheet/contact-sheet.html.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from imgsvc.demo.sheet import Failure, Pair, write_sheet
from imgsvc.domain.imaging.compress import compress
from imgsvc.domain.imaging.decode import CodecLimits, prepare_pillow
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError
from support.images import (
    alpha_png,
    animation,
    cmyk_jpeg,
    encoded,
    grey16_png,
    grey_profile,
    multipage_tiff,
    oriented,
    palette_png,
    photo_jpeg,
    quarters,
    scene,
    truncated,
    wide_gamut_profile,
)
from support.paths import ROOT

FOLDER = ROOT / "build" / "contact-sheet"
LIMITS = CodecLimits()


def sample_images() -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each image that the tests make."""
    yield "photo.jpg", photo_jpeg()
    for number in range(1, 9):
        for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            yield f"orientation-{number}.{image_format.lower()}", oriented(number, image_format)
    yield "soft-edge.png", alpha_png()
    yield "palette.png", palette_png()
    yield "cmyk.jpg", cmyk_jpeg()
    yield "grey-16.png", grey16_png()
    yield "grey-gamma-1.png", encoded(Image.linear_gradient("L"), "PNG", icc_profile=grey_profile(1.0))
    yield "red-and-blue-swapped-by-its-profile.jpg", encoded(quarters(), "JPEG", icc_profile=wide_gamut_profile())
    for image_format in ("GIF", "PNG", "WEBP", "AVIF"):
        yield f"animated.{image_format.lower()}", animation(image_format)
    yield "pages.tiff", multipage_tiff()
    yield "drawing.gif", encoded(scene(200, 150).quantize(16), "GIF")
    yield "truncated.jpg", truncated(photo_jpeg())


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path.name, path.read_bytes()


def card(name: str, data: bytes, spec: Spec) -> Pair | Failure:
    """Write the original and its rendition to files; return the card for the page, or the failure."""
    before = FOLDER / "before" / name
    before.write_bytes(data)
    try:
        [rendition] = compress(data, [spec], LIMITS).renditions
    except CodecError as error:
        return Failure(name, "", error.code, error.detail)
    after = FOLDER / "after" / f"{name}.{rendition.format}"
    after.write_bytes(rendition.data)
    return Pair(name, before, after, kept=rendition.action == "kept_original")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    for name in (
        "format",
        "quality",
        "max-width",
        "max-height",
        "fit",
        "width",
        "height",
        "trim",
        "margin",
        "background",
    ):
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    folder = options.pop("images")
    prepare_pillow(LIMITS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in ("before", "after"):
        (FOLDER / name).mkdir(parents=True)
    spec = Spec.model_validate(options)
    cards = [card(name, data, spec) for name, data in (files_in(folder) if folder else sample_images())]
    causes = Counter(card.code for card in cards if isinstance(card, Failure))
    summary = f"{len(cards)} images, {spec.format}, quality {spec.quality}; no rendition: {dict(causes) or 'none'}"
    write_sheet(FOLDER / "contact-sheet.html", cards, summary=summary)
    print(f"{summary}\n{FOLDER / 'contact-sheet.html'}")  # noqa: T201  # a command that people run


if __name__ == "__main__":
    main()

"""CPU time of shapes: `fit`, `trim` and `margin` against `max_width`, in turns on generated products on white.

python benchmarks/shapes.py [--runs 15]
"""

import argparse
from io import BytesIO
from statistics import median
from time import process_time

from PIL import Image, ImageDraw

from imgsvc.domain.imaging.compress import compress
from imgsvc.domain.imaging.decode import CodecLimits, prepare_pillow
from imgsvc.domain.imaging.spec import Spec
from photos import photo_files

COUNT = 6
LIMITS = CodecLimits()


def products() -> list[bytes]:
    """Return JPEGs of one megapixel: a photo-like disc, half as wide and high as the white image around it."""
    made = []
    for data in photo_files()[:COUNT]:
        with Image.open(BytesIO(data)) as photo:
            canvas = Image.new("RGB", photo.size, "white")
            half = photo.resize((photo.width // 2, photo.height // 2))
        disc = Image.new("L", half.size)
        ImageDraw.Draw(disc).ellipse((0, 0, half.width - 1, half.height - 1), fill=255)
        canvas.paste(half, (canvas.width // 4, canvas.height // 4), disc)
        buffer = BytesIO()
        canvas.save(buffer, "JPEG", quality=88)
        made.append(buffer.getvalue())
    return made


def shapes(side: int) -> dict[str, Spec]:
    limits: dict[str, object] = {"max_width": side, "max_height": side}
    box: dict[str, object] = {"width": side, "height": side}
    options: dict[str, dict[str, object]] = {
        "max_width": limits,
        "contain": {"fit": "contain", **box},
        "cover": {"fit": "cover", **box},
        "pad": {"fit": "pad", **box},
        "trim, max_width": {"trim": True, **limits},
        "trim, margin, pad": {"trim": True, "margin": 7, "fit": "pad", **box},
    }
    return {name: Spec.model_validate(values) for name, values in options.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    prepare_pillow(LIMITS)
    images, sides = products(), (800, 1_600, 200)
    cases = {(name, side): spec for side in sides for name, spec in shapes(side).items()}
    times: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for _ in range(runs):
        for case, spec in cases.items():
            start = process_time()
            for data in images:
                compress(data, [spec], LIMITS)
            times[case].append((process_time() - start) * 1_000 / len(images))
    print(f"| | {' | '.join(f'{side:,} px' for side in sides)} |\n|---|{'---|' * len(sides)}")
    for name in shapes(1):
        print(f"| {name} | {' | '.join(f'{median(times[name, side]):.1f} ms' for side in sides)} |")


if __name__ == "__main__":
    main()

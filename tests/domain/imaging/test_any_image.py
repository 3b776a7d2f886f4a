"""Any image that Pillow can make is converted to every format, with the right size and frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageSequence

from imgsvc.domain.imaging.compress import CodecLimits, compress
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.shape import shape_of
from imgsvc.domain.imaging.spec import Format, Spec
from support.images import decoded, encoded, exif

pytestmark = pytest.mark.usefixtures("prepared_pillow")

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F")
KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "ICO", "JPEG2000", "MPO")
ANIMATED_KINDS = ("PNG", "WEBP", "AVIF", "GIF")
ALL_TARGETS = [Spec(name=target.value, format=target) for target in Format]


@dataclass(frozen=True)
class MadeImage:
    """A file, and the content that its renditions must have."""

    data: bytes
    size: tuple[int, int]
    frames: int
    frames_differ: bool
    """True if each frame differs clearly from the previous one: similar frames may be merged."""


def noise(mode: str, size: tuple[int, int], seed: bytes) -> Image.Image:
    """Return `seed` enlarged to `size`, in any of the modes."""
    colours = Image.frombytes("RGBA", (2, 2), seed).resize(size, Image.Resampling.BILINEAR)
    if mode == "I;16":
        return Image.frombytes(mode, size, colours.convert("LA").tobytes())
    if mode == "LAB":
        return Image.merge(mode, colours.convert("RGB").split())
    if mode == "PA":
        return colours.convert("RGB").quantize(8).convert("PA")
    if mode in {"I", "F"}:
        return colours.convert("L").convert(mode)
    return colours.convert(mode if mode in {"LA", "RGBA"} else "RGB").convert(mode)


@st.composite
def made_images(draw: st.DrawFn) -> MadeImage:
    kind, mode = draw(st.sampled_from(KINDS)), draw(st.sampled_from(MODES))
    size = draw(st.tuples(st.integers(1, 48), st.integers(1, 48)))
    image = noise(mode, size, draw(st.binary(min_size=16, max_size=16)))
    frames = draw(st.integers(1, 3)) if kind in ANIMATED_KINDS else 1
    # Pillow 13 crashes when it writes an animated AVIF with an orientation; imgsvc transposes the pixels instead.
    orientation = 1 if kind == "AVIF" and frames > 1 else draw(st.integers(1, 8))
    options: dict[str, Any] = {"exif": exif(orientation=orientation)}
    if draw(st.booleans()) and mode in {"L", "P", "RGB", "I;16"}:
        options["transparency"] = (1, 2, 3) if mode == "RGB" else draw(st.integers(0, 255))
    if frames > 1:
        others = [noise(mode, size, draw(st.binary(min_size=16, max_size=16))) for _ in range(frames - 1)]
        options |= {"save_all": True, "append_images": others, "duration": 40}
    try:
        data = encoded(image, kind, **options)
        image_read = decoded(data)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SystemError):
        assume(False)  # Pillow cannot write this combination
    is_transposed = image_read.getexif().get(0x0112, 1) >= 5
    upright = (image_read.height, image_read.width) if is_transposed else image_read.size
    pixels = (
        [frame.convert("RGBA") for frame in ImageSequence.Iterator(image_read)]
        if kind in ANIMATED_KINDS
        else [image_read]
    )
    return MadeImage(data, upright, len(pixels), all(differ_clearly(*pair) for pair in pairwise(pixels)))


def differ_clearly(one: Image.Image, other: Image.Image) -> bool:
    return max(ImageChops.difference(one, other).convert("RGB").tobytes()) > 100


def check(made: MadeImage, specs: Sequence[Spec]) -> None:
    result = compress(made.data, specs, CodecLimits())
    assert (result.width, result.height) == made.size
    for spec, rendition in zip(specs, result.renditions, strict=True):
        written = decoded(rendition.data)
        assert written.size == (rendition.width, rendition.height) == shape_of(spec, made.size).size
        assert (written.format or "").lower().replace("mpo", "jpeg") == rendition.format.replace("mpo", "jpeg")
        assert written.getexif().get(0x0112, 1) == 1
        frames = getattr(written, "n_frames", 1)
        if not OUTPUT_FORMATS[rendition.format].animated:
            assert frames == 1
        else:
            assert frames == made.frames or (frames < made.frames and not made.frames_differ)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(made=made_images())
def test_every_image_goes_to_every_target(made: MadeImage) -> None:
    check(made, ALL_TARGETS)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    made=made_images(),
    target=st.sampled_from(Format),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    quality=st.integers(1, 95),
    keep=st.sampled_from(["none", "copyright", "all"]),
    fit=st.sampled_from([None, "contain", "cover", "pad"]),
)
def test_every_combination_of_options_works(
    made: MadeImage, target: Format, width: int, height: int, quality: int, keep: Any, fit: Any
) -> None:
    box = {"fit": fit, "width": width, "height": height} if fit else {"max_width": width, "max_height": height}
    check(made, [Spec.model_validate({"format": target, "quality": quality, "keep_metadata": keep, **box})])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(made=made_images(), target=st.sampled_from(Format), margin=st.integers(0, 40))
def test_every_image_can_be_trimmed(made: MadeImage, target: Format, margin: int) -> None:
    trimmed = Spec(trim=True, margin=margin, format=target)
    square = Spec(name="square", trim=True, margin=margin, format=target, fit="pad", width=30, height=30)
    first, second = compress(made.data, [trimmed, square], CodecLimits()).renditions
    assert decoded(first.data).size == (first.width, first.height)
    assert decoded(second.data).size == (30, 30)

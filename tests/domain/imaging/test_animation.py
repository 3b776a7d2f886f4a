"""Animations are read and written one frame at a time: memory depends on one frame, and no frame is lost."""

import random
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageSequence

from imgsvc.domain.imaging.animation import Animation, Frame
from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.encode import Oversized, encode_animation
from imgsvc.domain.imaging.formats import AVIF, GIF, OUTPUT_FORMATS, PNG
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import EncodeError
from support.images import BLUE, RED, animation, decoded, distance, encoded, pixel, quarters, scene, truncated

pytestmark = pytest.mark.usefixtures("prepared_pillow")

PEAK = """
import resource, sys
from imgsvc.domain.imaging.compress import CodecLimits, compress, prepare_pillow
from imgsvc.domain.imaging.spec import Spec
limits, specs = CodecLimits(), [Spec(format=sys.argv[1], max_width=255)]
prepare_pillow(limits)
small = int(sys.stdin.buffer.readline())
compress(sys.stdin.buffer.read(small), specs, limits)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
[rendition] = compress(sys.stdin.buffer.read(), specs, limits).renditions
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
FRAMES, SIZE = 300, (256, 250)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image_format", "wanted"),
    [("GIF", "original"), ("GIF", "webp"), ("PNG", "original"), ("WEBP", "original"), ("WEBP", "avif")],
)
def test_memory_follows_one_frame(image_format: str, wanted: str) -> None:
    """Measured as the additional memory of a process for 300 frames over 30; all in memory at once would be 50 MiB."""
    small, large = (animation(image_format, count=count, size=SIZE) for count in (FRAMES // 10, FRAMES))
    peak = subprocess.run(
        [sys.executable, "-c", PEAK, wanted], input=b"%d\n" % len(small) + small + large, stdout=-1, check=True
    )
    assert int(peak.stdout) < 15 * 1024


def moving_disc(count: int = 12, size: tuple[int, int] = (96, 72)) -> Iterator[Frame]:
    """Yield frames with a disc that moves across a scene."""
    ground = scene(*size)
    for number in range(count):
        image = ground.copy()
        ImageDraw.Draw(image).ellipse((number * 6, 20, number * 6 + 20, 40), fill=RED)
        yield Frame(image, 40 + 10 * number)


def frames_of(data: bytes) -> list[tuple[Image.Image, int]]:
    return [(frame.convert("RGBA"), round(frame.info["duration"])) for frame in ImageSequence.Iterator(opened(data))]


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of all channels, of 255."""
    histogram = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).histogram()
    return sum(count * (at % 256) for at, count in enumerate(histogram)) / sum(histogram)


@pytest.mark.parametrize(("target", "max_difference"), [("gif", 12), ("png", 0), ("webp", 9), ("avif", 9)])
def test_every_frame_keeps_its_content_and_its_duration(target: str, max_difference: float) -> None:
    data = encode_animation(Animation(moving_disc, 12, 0), OUTPUT_FORMATS[target], quality=90, exif=b"")
    frames = frames_of(data)
    assert [duration for _, duration in frames] == [40 + 10 * number for number in range(12)]
    for (written, _), (image, _) in zip(frames, moving_disc(), strict=True):
        assert mean_difference(written, image) <= max_difference


@pytest.mark.parametrize("target", ["gif", "png"])
def test_only_changes_between_frames_are_written(target: str) -> None:
    def still() -> Iterator[Frame]:
        return iter([Frame(scene(96, 72, seed=number), 50) for number in range(12)])

    few_changes, all_new = (
        encode_animation(Animation(each, 12, 0), OUTPUT_FORMATS[target], quality=90, exif=b"")
        for each in (moving_disc, still)
    )
    assert len(few_changes) < len(all_new) / 2


@pytest.mark.parametrize("target", ["gif", "png"])
def test_frames_that_look_the_same_are_written_as_one(target: str) -> None:
    def repeated() -> Iterator[Frame]:
        return (Frame(image, 30) for image, _ in moving_disc(3) for _ in range(4))

    data = encode_animation(Animation(repeated, 12, 0), OUTPUT_FORMATS[target], quality=90, exif=b"")
    assert [duration for _, duration in frames_of(data)] == [120, 120, 120]


def test_few_colours_stay_exactly_those_in_a_gif() -> None:
    def flat() -> Iterator[Frame]:
        return (Frame(image.quantize(250).convert("RGB"), 50) for image, _ in moving_disc())

    data = encode_animation(Animation(flat, 12, 0), GIF, quality=50, exif=b"")
    for (written, _), (image, _) in zip(frames_of(data), flat(), strict=True):
        assert mean_difference(written, image) == 0


@pytest.mark.parametrize("careful", [True, False])
def test_a_gif_clears_pixels_that_disappear(careful: bool) -> None:
    """Discs of many colours appear and disappear on a transparent canvas; a large canvas takes the fast path."""
    size = (96, 72) if careful else (5_000, 4_000)

    def appearing() -> Iterator[Frame]:
        for number in (0, 3, None, 1, 5):
            image = Image.new("RGBA", size)
            if number is not None:
                image.paste(scene(20, 20), (number * 15, 10))
            yield Frame(image, 50)

    data = encode_animation(Animation(appearing, 5, 0), GIF, quality=50, exif=b"")
    for (written, _), (image, _) in zip(frames_of(data), appearing(), strict=True):
        assert ImageChops.difference(written.getchannel("A"), image.getchannel("A")).getbbox() is None
        assert mean_difference(written.crop((0, 0, 96, 72)), image.crop((0, 0, 96, 72))) < 4


def test_a_gif_that_begins_opaque_can_become_transparent() -> None:
    def vanishing() -> Iterator[Frame]:
        yield Frame(quarters().convert("RGB"), 50)
        yield Frame(Image.new("RGBA", (60, 40)), 50)
        yield Frame(quarters().transpose(Image.Transpose.ROTATE_180), 50)

    frames = frames_of(encode_animation(Animation(vanishing, 3, 0), GIF, quality=50, exif=b""))
    assert [frame.getchannel("A").getextrema() for frame, _ in frames] == [(255, 255), (0, 0), (255, 255)]
    assert pixel(frames[2][0], (58, 38)) == (*RED, 255)


@pytest.mark.parametrize("target", ["png", "avif"])
def test_an_animation_may_become_transparent_later(target: str) -> None:
    def fading() -> Iterator[Frame]:
        for alpha in (255, 255, 100, 0):
            image = Image.new("RGB", (48, 32), BLUE)
            if alpha < 255:
                image.putalpha(alpha)
            yield Frame(image, 50)

    frames = frames_of(encode_animation(Animation(fading, 4, 0), OUTPUT_FORMATS[target], quality=90, exif=b""))
    alphas = [pixel(frame, (24, 16))[3] for frame, _ in frames]
    assert alphas[0] == 255
    assert alphas[-1] == 0
    assert abs(alphas[-2] - 100) < 8


def test_grey_frames_are_written_as_grey() -> None:
    def grey() -> Iterator[Frame]:
        return (Frame(image.convert("L"), duration) for image, duration in moving_disc(4))

    data = encode_animation(Animation(grey, 4, 0), AVIF, quality=80, exif=b"")
    assert [duration for _, duration in frames_of(data)] == [40, 50, 60, 70]
    assert encode_animation(Animation(grey, 4, 0), PNG, quality=80, exif=b"")[25] == 0, "the colour type of grey"


@pytest.mark.parametrize("target", ["gif", "png", "webp", "avif"])
def test_an_animation_that_grows_too_large_is_given_up(target: str) -> None:
    with pytest.raises(Oversized):
        encode_animation(Animation(moving_disc, 12, 0), OUTPUT_FORMATS[target], quality=90, exif=b"", max_bytes=500)
    assert encode_animation(
        Animation(moving_disc, 12, 0), OUTPUT_FORMATS[target], quality=90, exif=b"", max_bytes=10**6
    )


def test_a_small_animation_that_would_become_a_huge_png_fails_with_a_message() -> None:
    noise = [Image.frombytes("RGB", (2_000, 1_500), random.Random(seed).randbytes(9_000_000)) for seed in (1, 2)]

    def flicker() -> Iterator[Frame]:
        return (Frame(noise[number % 2], 50) for number in range(12))

    with pytest.raises(EncodeError, match="64 MiB"):
        encode_animation(Animation(flicker, 12, 0), PNG, quality=90, exif=b"")


def rendition(data: bytes, **plan: object) -> Rendition:
    return compress(data, [Spec.model_validate(plan)], CodecLimits()).renditions[0]


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_several_renditions_are_made_of_one_animation(image_format: str) -> None:
    data = animation(image_format, count=5)
    specs = [Spec(), Spec(name="still", format=Format.jpeg), Spec(name="small", format=Format.webp, max_width=20)]
    main, still, small = compress(data, specs, CodecLimits()).renditions
    counts = [getattr(decoded(each.data), "n_frames", 1) for each in (main, still, small)]
    assert counts == [5, 1, 5]
    assert distance(pixel(decoded(still.data), (24, 24)), RED) < 10
    assert [duration for _, duration in frames_of(small.data)] == [100, 200, 300, 400, 500]


@pytest.mark.parametrize("image_format", ["GIF", "PNG"])
def test_a_truncated_animation_ends_at_the_same_frame_in_every_rendition(image_format: str) -> None:
    frames = [scene(96, 72, seed=number) for number in range(12)]
    whole = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=50)
    specs = [Spec(name="a", format=Format.webp), Spec(name="b", format=Format.png, max_width=50)]
    done = compress(truncated(whole, 0.7), specs, CodecLimits()).renditions
    first, second = (getattr(decoded(each.data), "n_frames", 1) for each in done)
    assert 2 < first == second < 12
    assert rendition(truncated(whole, 0.7)).action == "compressed", "a damaged file is not kept"


def test_a_gif_with_one_undamaged_frame_is_a_still() -> None:
    frames = [image for image, _ in moving_disc(2)]
    whole = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    cut = whole[: whole.rindex(b"!\xf9") + 21]
    assert rendition(cut).format == "jpeg"


def test_frames_keep_their_order() -> None:
    """The frames differ clearly, so that none is merged with its neighbour."""
    frames = [quarters().rotate(90 * number) for number in range(4)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50, lossless=True)
    for wanted in ("webp", "png", "avif"):
        written = [frame for frame, _ in frames_of(rendition(data, format=wanted, max_width=30).data)]
        assert len(written) == 4
        assert all(mean_difference(*pair) > 30 for pair in pairwise(written))

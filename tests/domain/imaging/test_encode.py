"""The encoders: real files, limits, animations."""

import io
import os
from typing import Any

import pytest
from PIL import Image

from imgsvc.domain.imaging.compress import CodecLimits, Rendition, compress
from imgsvc.domain.imaging.encode import encode, writing
from imgsvc.domain.imaging.formats import JPEG, OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import EncodeError
from support.images import BLUE, GREEN, RED, animation, decoded, distance, encoded, pixel, quarters, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")


def rendition(data: bytes, spec: Spec) -> Rendition:
    return compress(data, [spec], CodecLimits()).renditions[0]


class RecordingImage(Image.Image):
    """An image that records the file into which it is written."""

    target: Any = None

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:  # noqa: A002 - Pillow's name
        self.target = (type(fp), os.fstat(fp.fileno()).st_size)
        super().save(fp, format, **params)


def test_images_are_encoded_into_a_real_file_so_that_other_threads_can_run() -> None:
    image = RecordingImage()
    image.im, image._mode, image._size = scene(64, 48).im, "RGB", (64, 48)
    data = encode(image, JPEG, quality=50, exif=b"")
    assert image.target == (io.BufferedRandom, 0)
    assert decoded(data).size == (64, 48)


@pytest.mark.parametrize(("size", "wanted"), [((65_501, 1), "jpeg"), ((1, 16_384), "webp"), ((32_769, 1), "avif")])
def test_a_side_too_long_for_the_format_is_explained(size: tuple[int, int], wanted: str) -> None:
    with pytest.raises(EncodeError, match=f"{OUTPUT_FORMATS[wanted].title} holds at most"):
        rendition(encoded(Image.new("RGB", size), "PNG"), Spec(format=Format(wanted)))
    assert rendition(encoded(Image.new("RGB", size), "PNG"), Spec(format=Format.png)).width == size[0]


def test_an_error_of_pillow_while_writing_is_an_encode_error() -> None:
    with pytest.raises(EncodeError), writing():
        encode(Image.new("F", (2, 2)), JPEG, quality=50, exif=b"")


# -- animations -------------------------------------------------------------------------------------------------------


def frames_of(data: bytes) -> list[tuple[int, tuple[int, ...]]]:
    """Return the duration in ms and the colour in the middle of each frame."""
    image = Image.open(io.BytesIO(data))
    seen = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        seen.append((round(image.info.get("duration") or 0), pixel(image, (image.width // 2, image.height * 3 // 4))))
    return seen


@pytest.mark.parametrize("wanted", ["original", "webp", "png", "avif"])
@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_stays_animated(image_format: str, wanted: str) -> None:
    data = animation(image_format, count=3, size=(48, 40))
    frames = frames_of(rendition(data, Spec(format=Format(wanted), max_width=24)).data)
    assert [duration for duration, _ in frames] == [100, 200, 300]
    assert all(distance(seen, colour) < 40 for (_, seen), colour in zip(frames, (RED, GREEN, BLUE), strict=True))


def test_jpeg_shows_the_first_frame() -> None:
    image = decoded(rendition(animation(), Spec(format=Format.jpeg)).data)
    assert distance(pixel(image, (24, 24)), RED) < 10


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (2, 3)])
def test_an_animation_plays_as_often_as_before(loop: int | None, plays: int) -> None:
    data = animation("GIF", loop=loop)
    written = {
        wanted: decoded(rendition(data, Spec(format=Format(wanted), max_width=24)).data)
        for wanted in ("original", "webp", "png")
    }
    assert written["original"].info.get("loop") == loop
    assert (written["webp"].info["loop"], written["png"].info["loop"]) == (plays, plays)


@pytest.mark.parametrize("wanted", ["original", "webp", "png"])
def test_a_frame_never_shows_through_the_next(wanted: str) -> None:
    frames = [Image.new("RGBA", (40, 30)) for _ in range(2)]
    frames[0].paste((255, 0, 0, 255), (0, 0, 20, 30))
    frames[1].paste((0, 0, 255, 255), (20, 0, 40, 30))
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    image = Image.open(io.BytesIO(rendition(data, Spec(format=Format(wanted), max_width=20)).data))
    image.seek(1)
    assert pixel(image.convert("RGBA"), (3, 5))[3] == 0
    assert distance(pixel(image, (16, 5)), (0, 0, 255, 255)) < 30


@pytest.mark.parametrize(("opaque", "seen"), [({0, 1}, 255), ({1}, 0)])
def test_a_gif_pixel_is_opaque_from_half_coverage(opaque: set[int], seen: int) -> None:
    """Three columns shrink into one; other renditions of the same frames keep partial transparency."""
    mask = Image.frombytes("L", (60, 1), bytes(255 * (x % 3 in opaque) for x in range(60))).resize((60, 48))
    frames = [Image.new("RGBA", mask.size), Image.new("RGBA", mask.size)]
    for frame, colour in zip(frames, (RED, BLUE), strict=True):
        frame.paste(colour, mask=mask)
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    specs = [Spec(max_width=20), Spec(max_width=20, format=Format.png), Spec(format=Format.png)]
    moving, still, large = (decoded(each.data) for each in compress(data, specs, CodecLimits()).renditions)
    assert pixel(moving, (10, 8))[3:] == ((0,) if seen == 0 else ())
    assert 50 < pixel(still, (10, 8))[3] < 205
    assert {pixel(large, (x, 8))[3] for x in range(3)} == {0, 255}


@pytest.mark.parametrize("wanted", ["original", "webp", "png", "avif"])
def test_frames_with_and_without_alpha_are_combined(wanted: str) -> None:
    frames = [Image.new("RGBA", (40, 32), colour) for colour in [(*RED, 255), (*BLUE, 0), (*GREEN, 255)]]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    seen = [colour for _, colour in frames_of(rendition(data, Spec(format=Format(wanted), quality=95)).data)]
    assert [colour[3] for colour in seen] == [255, 0, 255]


def test_a_frame_shown_for_minutes_can_be_written_in_every_format() -> None:
    frames = [quarters(), quarters().transpose(Image.Transpose.ROTATE_180)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=[100, 70_001])
    assert [duration for duration, _ in frames_of(rendition(data, Spec(format=Format.png)).data)] == [100, 65_535]

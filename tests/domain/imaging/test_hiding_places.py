"""Hidden bytes are removed from images, wherever they are in the file."""

import pytest
from PIL import Image, ImageChops, ImageStat

from support.hiding_places import SECRET, all_places, everything_in
from support.images import decoded
from support.metadata import rendition

pytestmark = pytest.mark.usefixtures("prepared_pillow")
PLACES = all_places()


def visible_difference(one: bytes, other: bytes) -> float:
    """Return the largest mean difference of a channel, of 255, in the last frame."""
    return max(ImageStat.Stat(ImageChops.difference(last_frame(one), last_frame(other))).mean)


def last_frame(data: bytes) -> Image.Image:
    image = decoded(data)
    image.seek(getattr(image, "n_frames", 1) - 1)
    return image.convert("RGBA")


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES)
def test_policy_all_keeps_the_image_with_its_hidden_bytes(data: bytes) -> None:
    result = rendition(data, "all", quality=95)
    assert (result.action, result.data) == ("kept_original", data)


@pytest.mark.parametrize("policy", ["none", "copyright"])
@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES)
def test_hidden_bytes_are_removed(data: bytes, policy: str) -> None:
    result = rendition(data, policy, quality=95)
    assert SECRET[:16] not in everything_in(result.data)
    assert result.data != data
    assert visible_difference(result.data, data) < 8

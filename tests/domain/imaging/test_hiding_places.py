"""What an image hides does not leave with it, wherever in its file it is."""

import pytest
from PIL import Image, ImageChops, ImageStat

from support.hiding_places import SECRET, all_places, everything_in
from support.images import decoded
from support.metadata import rendition

pytestmark = pytest.mark.usefixtures("prepared_pillow")
PLACES = all_places()


def looks_apart(one: bytes, other: bytes) -> float:
    """Mean difference of a channel, of 255, in the last frame."""
    return max(ImageStat.Stat(ImageChops.difference(last_frame(one), last_frame(other))).mean)


def last_frame(data: bytes) -> Image.Image:
    image = decoded(data)
    image.seek(getattr(image, "n_frames", 1) - 1)
    return image.convert("RGBA")


@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES)
def test_the_places_are_those_of_images_that_would_be_handed_on(data: bytes) -> None:
    result = rendition(data, "all", quality=95)
    assert (result.action, result.data) == ("kept_original", data)


@pytest.mark.parametrize("policy", ["none", "copyright"])
@pytest.mark.parametrize("data", PLACES.values(), ids=PLACES)
def test_what_is_hidden_in_an_image_is_not_handed_on(data: bytes, policy: str) -> None:
    result = rendition(data, policy, quality=95)
    assert SECRET[:16] not in everything_in(result.data)
    assert result.data != data
    assert looks_apart(result.data, data) < 8

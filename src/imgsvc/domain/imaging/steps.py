"""The steps from a normalised frame to one that can be encoded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from PIL import Image, ImageColor

from imgsvc.domain.imaging.formats import OutputFormat
from imgsvc.domain.imaging.spec import Spec


@dataclass(frozen=True, slots=True)
class Output:
    """The format and the size of the rendition that `spec` asks for."""

    spec: Spec
    format: OutputFormat
    size: tuple[int, int]


def shrink(image: Image.Image, output: Output) -> Image.Image:
    if image.size == output.size:
        return image
    return image.resize(output.size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def flatten(image: Image.Image, output: Output) -> Image.Image:
    """Paste on the background if the format has no transparency; the colours of transparent pixels are often black."""
    if output.format.alpha != "none" or image.mode not in {"LA", "RGBA"}:
        return image
    flat = Image.new("RGB", image.size, ImageColor.getcolor(output.spec.background, "RGB"))
    flat.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return flat


def threshold_alpha(image: Image.Image, output: Output) -> Image.Image:
    """Make each pixel opaque or fully transparent for GIF, with the threshold at half."""
    if output.format.alpha != "binary" or image.mode not in {"LA", "RGBA"}:
        return image
    cut = image.copy()  # the other specs share the frame
    cut.putalpha(image.getchannel("A").point([0] * 128 + [255] * 128))
    return cut


Step = Callable[[Image.Image, Output], Image.Image]
STEPS: tuple[Step, ...] = (shrink, flatten, threshold_alpha)


def apply_steps(image: Image.Image, output: Output) -> Image.Image:
    return reduce(lambda image, step: step(image, output), STEPS, image)

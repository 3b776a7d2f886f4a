"""The steps from a normalised frame to one that can be encoded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from PIL import Image, ImageColor

from imgsvc.domain.imaging.formats import OutputFormat
from imgsvc.domain.imaging.shape import Shape, Size
from imgsvc.domain.imaging.spec import Spec


@dataclass(frozen=True, slots=True)
class Output:
    """The format and the shape of the rendition that `spec` asks for.

    `transparent`: what the shape adds around the image is transparent, as the image is; otherwise it is background.
    """

    spec: Spec
    format: OutputFormat
    shape: Shape
    transparent: bool

    @property
    def size(self) -> tuple[int, int]:
        return self.shape.size


def scale(image: Image.Image, output: Output) -> Image.Image:
    """Return the part of the image that the rendition shows, at its size. A JPEG may have been decoded smaller."""
    shape = output.shape
    if shape.shows_all:
        return image if image.size == shape.inner else _resized(image, shape.inner)
    left, top, right, bottom = shape.part
    unscaled = image.size == shape.whole and right - left == shape.inner[0] and bottom - top == shape.inner[1]
    if unscaled and left % 1 == top % 1 == 0:
        return image.crop((int(left), int(top), int(right), int(bottom)))
    across, down = image.width / shape.whole[0], image.height / shape.whole[1]
    box = left * across, top * down, min(right * across, image.width), min(bottom * down, image.height)
    return _resized(image, shape.inner, box)


def _resized(image: Image.Image, size: Size, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=2.0)


def place(image: Image.Image, output: Output) -> Image.Image:
    """Put the image in the middle of a canvas, if the rendition is larger than what it shows."""
    if image.size == output.size:
        return image
    canvas = _canvas(image.mode, output)
    canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
    return canvas


def _canvas(mode: str, output: Output) -> Image.Image:
    """Return a canvas for an image of `mode` (L, LA, RGB, RGBA): grey stays grey if the background is grey."""
    grey, alpha = mode in {"L", "LA"}, mode in {"LA", "RGBA"}
    if output.transparent:
        return Image.new("LA" if grey else "RGBA", output.size)
    colour = ImageColor.getrgb(output.spec.background)[:3]
    if grey and len(set(colour)) == 1:
        return Image.new("LA" if alpha else "L", output.size, (*colour[:1], 255) if alpha else colour[0])
    return Image.new("RGBA" if alpha else "RGB", output.size, (*colour, 255) if alpha else colour)


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
STEPS: tuple[Step, ...] = (scale, place, flatten, threshold_alpha)


def apply_steps(image: Image.Image, output: Output) -> Image.Image:
    return reduce(lambda image, step: step(image, output), STEPS, image)

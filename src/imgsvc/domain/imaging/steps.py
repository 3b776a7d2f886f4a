"""The steps from a frame that is set right to one that is written, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from PIL import Image, ImageColor

from imgsvc.domain.imaging.formats import OutputFormat
from imgsvc.domain.imaging.spec import Spec


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one spec need to know."""

    spec: Spec
    target: OutputFormat
    size: tuple[int, int]


def shrink(image: Image.Image, job: Job) -> Image.Image:
    if image.size == job.size:
        return image
    return image.resize(job.size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def flatten(image: Image.Image, job: Job) -> Image.Image:
    """Lay alpha on the background where the target has none: what is transparent is black underneath."""
    if job.target.alpha != "none" or image.mode not in {"LA", "RGBA"}:
        return image
    flat = Image.new("RGB", image.size, ImageColor.getcolor(job.spec.background, "RGB"))
    flat.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return flat


def cut_out(image: Image.Image, job: Job) -> Image.Image:
    """GIF knows no half: what shines through more than it covers is gone, or there would be rings around everything."""
    if job.target.alpha != "binary" or image.mode not in {"LA", "RGBA"}:
        return image
    cut = image.copy()  # other specs have the same frame
    cut.putalpha(image.getchannel("A").point([0] * 128 + [255] * 128))
    return cut


Step = Callable[[Image.Image, Job], Image.Image]
STEPS: tuple[Step, ...] = (shrink, flatten, cut_out)


def done(image: Image.Image, job: Job) -> Image.Image:
    """Apply all steps."""
    return reduce(lambda image, step: step(image, job), STEPS, image)

"""The shape of a rendition: the part of the image that it shows, at which size, and on how large a canvas."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from imgsvc.domain.imaging.formats import OUTPUT_FORMATS, Format
from imgsvc.domain.imaging.spec import Compression

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`part` (left, top, right, bottom) of an upright image of size `whole`, scaled to `inner`, centred on `size`."""

    whole: Size
    part: tuple[float, float, float, float]
    inner: Size
    size: Size

    @property
    def shows_all(self) -> bool:
        return self.part == (0, 0, *self.whole)

    @property
    def is_unchanged(self) -> bool:
        return self.shows_all and self.whole == self.inner == self.size


def shape_of(spec: Compression, whole: Size, content: Box | None = None) -> Shape:
    """Return the shape of the rendition of an upright image; `content` is what trimming leaves of it.

    An image without a border gets no margin: the margin is what remains of the border.
    """
    box = content if spec.trim and content else (0, 0, *whole)
    width, height = box[2] - box[0], box[3] - box[1]
    free = 1 - spec.margin / 50 if (width, height) != whole else 1.0
    size = _limited(spec, *_canvas(spec, width / free, height / free))
    if spec.fit == "cover":
        return Shape(whole, _middle(box, size), size, size)
    inner = _rounded(size[0] * free, size[1] * free)
    if spec.fit == "pad":
        scale = min(size[0] * free / width, size[1] * free / height)
        inner = _rounded(width * scale, height * scale)
    return Shape(whole, box, inner, size)


def is_bounded(spec: Compression) -> bool:
    """Return whether the size of a rendition is limited by `spec` or by the size of the image, upright or not."""
    return spec.fit != "contain" or bool(spec.width and spec.height)


def _canvas(spec: Compression, width: float, height: float) -> tuple[float, float]:
    """Return the size of the rendition of an image of `width` and `height`, its margin included."""
    if spec.fit in {"cover", "pad"}:
        return spec.width or width, spec.height or height
    if spec.fit == "contain":
        scale = min(side / length for side, length in ((spec.width, width), (spec.height, height)) if side)
        return width * scale, height * scale
    return width, height


def _limited(spec: Compression, width: float, height: float) -> Size:
    scale = min(1.0, (spec.max_width or width) / width, (spec.max_height or height) / height)
    return _rounded(width * scale, height * scale)


def _rounded(width: float, height: float) -> Size:
    return max(1, round(width)), max(1, round(height))


def _middle(box: Box, size: Size) -> tuple[float, float, float, float]:
    """Return the largest part of `box` with the proportions of `size`, in its middle."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    cut_across = max(0.0, width - height * size[0] / size[1]) / 2
    cut_down = max(0.0, height - width * size[1] / size[0]) / 2
    return left + cut_across, top + cut_down, right - cut_across, bottom - cut_down


def contradictions(spec: Compression, max_pixels: int) -> Iterator[tuple[str, str]]:
    """Yield the member and a sentence for each pair of options that contradict each other, or a too large box."""
    given = [name for name in ("width", "height") if getattr(spec, name)]
    if spec.fit is None and given:
        yield given[0], "needs `fit`; to shrink only larger images, use `max_width` and `max_height`."
    if spec.fit == "contain" and not given:
        yield "fit", "`contain` needs `width`, `height` or both."
    if spec.fit in {"cover", "pad"} and len(given) < 2:
        yield "fit", f"`{spec.fit}` needs `width` and `height`."
    if spec.margin and not spec.trim:
        yield "margin", "needs `trim`: it is a margin around what trimming leaves."
    if spec.margin and spec.fit == "cover":
        yield "margin", "`fit=cover` leaves no margin; use `pad` or `contain`."
    if spec.fit and len(given) == 2:
        yield from _too_large(spec, max_pixels)


def _too_large(spec: Compression, max_pixels: int) -> Iterator[tuple[str, str]]:
    width, height = size = _limited(spec, spec.width or 1, spec.height or 1)
    if prod(size) > max_pixels:
        yield "width", f"{width:,} × {height:,} pixels are more than the {max_pixels / 1e6:g} million allowed."
    target = None if spec.format is Format.original else OUTPUT_FORMATS[spec.format.value]
    if target and target.max_side and max(size) > target.max_side and spec.fit != "contain":
        yield "width", f"{target.title} holds at most {target.max_side:,} pixels per side."

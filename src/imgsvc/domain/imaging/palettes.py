"""Few colours for PNG: what makes it small while text and edges stay crisp.

Measured with Pillow 13 on product renders and photos: its octree is quick and keeps smooth parts smooth, but takes
colours 16 steps apart for one and loses bright ones; its maximum coverage holds on to those, at more grain. Neither
needs more than a sample of the pixels, and dithered to either palette there are no blotches on folds and skies. Of
alpha the octree tells eight steps apart, which make rings of a soft shadow: alpha has levels of its own here.
"""

from itertools import accumulate

from PIL import Image, ImageChops
from PIL.Image import Quantize

from imgsvc.domain.imaging.palette_error import Box, block_error, subject_of

Colour = tuple[int, ...]

SAMPLE = (128, 128)
"""Pixels from which a palette is made."""
TOLERANCE, STRICTEST = 250, 4
"""How far (see `off_by`) a palette may be off: as a JPEG of its quality is, which is this divided by the quality."""
FLAT = 0.02
"""A colour with this share of an image is a surface, such as the white around a product, and stays exactly that."""
NEAR = 12
"""How far, of 255 and in each channel, a palette's entry may be from a surface's colour to be replaced by it."""
BAND = 4_096  # pixels
LEVELS, TINTS = 16, 16
"""Of alpha, and of colour, where an image is translucent; together as many as an index has values."""


def quantise(image: Image.Image, quality: int) -> Image.Image:
    """A palette image of `image` (L, LA, RGB, RGBA): exact if it has 256 colours or fewer, else dithered.

    Grey without alpha stays grey unless 16 values are all it has, which take half a byte in a palette. Where even 256
    colours are too far off for `quality`, it is `image` itself.
    """
    if image.mode == "L" and image.getcolors(16) is None:
        return image
    if image.getcolors(256) is not None:
        return exactly(image)
    colours = max(32, 256 * min(quality, 50) // 50)
    ways = (colours, Quantize.FASTOCTREE), (colours, Quantize.MAXCOVERAGE), (256, Quantize.MAXCOVERAGE)
    dither, subject = _dithered if image.mode == "RGB" else _translucent, subject_of(image)
    tries = (dither(image, subject, *way) for way in dict.fromkeys(ways))
    tolerance = max(STRICTEST, TOLERANCE / quality)
    return next((few for few in tries if block_error(image, few) <= tolerance), image)


def exactly(image: Image.Image) -> Image.Image:
    """The palette image of at most 256 colours; of those with alpha 0 the first entry.

    Pillow has no exact way for colours with alpha: its octree merges near ones even when all would fit.
    """
    counted = image.getcolors(256) or []
    palette = Image.new(image.mode, (len(counted), 1))
    palette.putdata([colour for _, colour in counted])
    colours = sorted(_pixels(palette))  # alpha is the highest byte: the opaque ones come last
    index_of = {colour: index for index, colour in enumerate(colours)}
    # Band by band: within one call the interpreter lock is never handed over.
    step = max(1, BAND // image.width)
    bands = (image.crop((0, top, image.width, min(top + step, image.height))) for top in range(0, image.height, step))
    indexes = b"".join(bytes(map(index_of.__getitem__, _pixels(band))) for band in bands)
    entries = [tuple(colour.to_bytes(4, "little")) for colour in colours]
    return _palette_image(Image.frombytes("L", image.size, indexes), entries)


def _pixels(image: Image.Image) -> memoryview:
    """Each as one number, red in its lowest byte and alpha in its highest."""
    return memoryview(image.convert("RGBA").tobytes()).cast("I")


def _dithered(rgb: Image.Image, subject: Box, colours: int, method: Quantize) -> Image.Image:
    return rgb.quantize(palette=_palette(_with_surfaces(_common_colours(rgb, subject, colours - 1, method), rgb)))


def _with_surfaces(entries: list[Colour], rgb: Image.Image) -> list[Colour]:
    """The larger ones first; one entry more where the largest is like none of them."""
    surfaces = _surfaces(rgb.resize(SAMPLE, Image.Resampling.NEAREST))
    entries, most = list(entries), len(entries) + 1
    for surface in surfaces:
        nearest = min(range(len(entries)), key=lambda index: _apart(entries[index], surface))
        if _apart(entries[nearest], surface) > NEAR and len(entries) < most:
            entries.append(surface)
        elif _apart(entries[nearest], surface) <= NEAR and entries[nearest] not in surfaces:
            entries[nearest] = surface
    return entries


def _common_colours(rgb: Image.Image, subject: Box, most: int, method: Quantize) -> list[Colour]:
    sample = rgb.resize(SAMPLE, Image.Resampling.NEAREST, subject)
    return [colour[:3] for colour in _colours(sample.quantize(most, method))][:most]


def _surfaces(sample: Image.Image) -> list[Colour]:
    """The colours that cover an image's flat parts, the largest first."""
    pixels = sample.width * sample.height
    counted = sorted(sample.getcolors(pixels) or [], reverse=True)
    return [colour for count, colour in counted if count >= pixels * FLAT and isinstance(colour, tuple)]


def _apart(one: Colour, other: Colour) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _translucent(image: Image.Image, subject: Box, colours: int, method: Quantize) -> Image.Image:
    """What is opaque, what shines through and what is not there at all have entries of their own."""
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    count = alpha.histogram()
    share = sum(count[1:255]) / max(1, sum(count[1:]))
    soft = alpha.point([0, *[255] * 254, 0])
    mixed, mixtures = _mixed(rgba, soft, subject, int(colours * min(0.75, max(0.25, share))), method)
    before = [(0, 0, 0, 0), *mixtures]
    solid = _dithered(_blacked_out(rgba, alpha.point([255] * 255 + [0])), subject, colours - len(before), method)
    opaque = [(*colour[:3], 255) for colour in _colours(solid)][: colours - len(before)]

    indexes = _indexes(solid).point([min(255, index + len(before)) for index in range(256)])
    indexes.paste(mixed.point([min(255, index + 1) for index in range(256)]), mask=soft)
    indexes.paste(0, mask=alpha.point([255] + [0] * 255))
    return _palette_image(indexes, [*before, *opaque])


def _blacked_out(rgba: Image.Image, hidden: Image.Image) -> Image.Image:
    """What nobody is to see gets no colours."""
    rgb = rgba.convert("RGB")
    rgb.paste((0, 0, 0), mask=hidden)
    return rgb


def _mixed(
    rgba: Image.Image, soft: Image.Image, subject: Box, most: int, method: Quantize
) -> tuple[Image.Image, list[Colour]]:
    """Indexes of the soft parts, and the at most `most` colours with alpha that they stand for.

    Tint and alpha are dithered apart; of their mixtures the most common stay, and the others become the nearest.
    """
    by_tint, tints = _by_tint(_blacked_out(rgba, ImageChops.invert(soft)), subject, method)
    by_level, levels = _by_level(rgba.getchannel("A"))
    both = ImageChops.add(by_tint.point(lambda index: index * LEVELS), by_level)

    count = both.histogram(soft)
    used = sorted((index for index in range(256) if count[index]), key=lambda index: -count[index])
    mixture = {index: (*tints[index // LEVELS], levels[index % LEVELS]) for index in used}
    kept = [mixture[index] for index in used[:most]]
    nearest = [0] * 256
    for index in used:
        nearest[index] = min(range(len(kept)), key=lambda at: _unlike(kept[at], mixture[index]))
    return both.point(nearest), kept


def _by_tint(rgb: Image.Image, subject: Box, method: Quantize) -> tuple[Image.Image, list[Colour]]:
    tints = _common_colours(rgb, subject, TINTS, method)
    return _indexes(rgb.quantize(palette=_palette(tints))), tints


def _by_level(alpha: Image.Image) -> tuple[Image.Image, list[int]]:
    levels = _levels(alpha.histogram())
    palette = _palette([(level, level, level) for level in levels])
    return _indexes(Image.merge("RGB", (alpha, alpha, alpha)).quantize(palette=palette)), levels


def _levels(count: list[int]) -> list[int]:
    """Of alpha: none, all, and between them more where there is more of it (by the root, so that rare ones count)."""
    weights = [0.0, *(count[alpha] ** 0.5 for alpha in range(1, 255))]
    sums = list(accumulate(weights))
    wanted = [sums[-1] * (step + 0.5) / (LEVELS - 2) for step in range(LEVELS - 2)]
    between = {next(alpha for alpha, upto in enumerate(sums) if upto >= weight) for weight in wanted}
    return sorted({0, 255} | between)


def _unlike(one: Colour, other: Colour) -> float:
    """How far two colours with alpha are apart on a ground of any brightness."""
    tint = sum((a * one[3] - b * other[3]) ** 2 for a, b in zip(one[:3], other[:3], strict=True)) / 255**2
    return tint + 3 * (one[3] - other[3]) ** 2


def _palette(colours: list[Colour]) -> Image.Image:
    """What `quantize` takes; it fills up with the last one, for what is left out would be black."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(b"".join(bytes(colour) for colour in colours + colours[-1:] * (256 - len(colours))))
    return palette


def _indexes(image: Image.Image) -> Image.Image:
    return Image.frombytes("L", image.size, image.tobytes())


def _colours(image: Image.Image) -> list[Colour]:
    flat = image.getpalette("RGBA") or []
    return list(zip(*[iter(flat)] * 4, strict=True))


def _palette_image(indexes: Image.Image, colours: list[Colour]) -> Image.Image:
    """Alpha goes into the tRNS chunk, which says nothing of the opaque colours at the end."""
    image = Image.frombytes("P", indexes.size, indexes.tobytes())
    image.putpalette(b"".join(bytes(colour[:3]) for colour in colours))
    alpha = bytes(colour[3] for colour in colours).rstrip(b"\xff")
    if alpha:
        image.info["transparency"] = alpha
    return image

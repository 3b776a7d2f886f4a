"""Palettes for PNG: fewer colours make small files, in which text and edges stay crisp.

Measured with Pillow 13 on product renders and photos: its octree is fast and keeps smooth parts smooth, but merges
colours up to 16 steps apart and loses bright ones; its maximum coverage keeps those, with more grain. Both need only a
sample of the pixels, and dithering to either palette leaves no blotches on folds and skies. The octree has only eight
levels of alpha, which turn a soft shadow into rings; here, alpha has its own levels.
"""

from itertools import accumulate

from PIL import Image, ImageChops
from PIL.Image import Quantize

from imgsvc.domain.imaging.palette_error import Box, block_error, subject_box

Colour = tuple[int, ...]

SAMPLE = (128, 128)
"""Size of the sample that a palette is made from."""
TOLERANCE, MIN_TOLERANCE = 250, 4
"""Largest `block_error` of a palette: TOLERANCE divided by the quality, which is about the error of a JPEG."""
FLAT_SHARE = 0.02
"""Smallest share of an image for which a colour counts as a flat area, such as a white background, and is kept."""
NEAR = 12
"""Largest distance in each channel (0 to 255) at which the colour of a flat area replaces a palette entry."""
BAND = 4_096  # pixels
LEVELS, TINTS = 16, 16
"""Levels of alpha, and colours, of translucent pixels; their combinations have to fit in an index of 8 bits."""


def quantise(image: Image.Image, quality: int) -> Image.Image:
    """Return a palette image of `image` (L, LA, RGB, RGBA): exact if it has at most 256 colours, otherwise dithered.

    Return `image` itself if even 256 colours are not close enough for `quality`, or if it is grey without alpha and has
    more than 16 values; up to 16 values take half a byte per pixel in a palette.
    """
    if image.mode == "L" and image.getcolors(16) is None:
        return image
    if image.getcolors(256) is not None:
        return exact_palette(image)
    colours = max(32, 256 * min(quality, 50) // 50)
    methods = (colours, Quantize.FASTOCTREE), (colours, Quantize.MAXCOVERAGE), (256, Quantize.MAXCOVERAGE)
    dither, subject = _dithered if image.mode == "RGB" else _translucent, subject_box(image)
    candidates = (dither(image, subject, *method) for method in dict.fromkeys(methods))
    tolerance = max(MIN_TOLERANCE, TOLERANCE / quality)
    return next((reduced for reduced in candidates if block_error(image, reduced) <= tolerance), image)


def exact_palette(image: Image.Image) -> Image.Image:
    """Return the palette image of an image of at most 256 colours; entries with alpha 0 come first.

    Pillow cannot do that for colours with alpha: its octree merges similar colours even if all would fit.
    """
    counted = image.getcolors(256) or []
    palette = Image.new(image.mode, (len(counted), 1))
    palette.putdata([colour for _, colour in counted])
    colours = sorted(_pixels(palette))  # alpha is the highest byte: the opaque ones come last
    index_of = {colour: index for index, colour in enumerate(colours)}
    # Band by band: the interpreter lock is not released within one call.
    step = max(1, BAND // image.width)
    bands = (image.crop((0, top, image.width, min(top + step, image.height))) for top in range(0, image.height, step))
    indexes = b"".join(bytes(map(index_of.__getitem__, _pixels(band))) for band in bands)
    entries = [tuple(colour.to_bytes(4, "little")) for colour in colours]
    return _palette_image(Image.frombytes("L", image.size, indexes), entries)


def _pixels(image: Image.Image) -> memoryview:
    """Return each pixel as one number, with red in its lowest byte and alpha in its highest."""
    return memoryview(image.convert("RGBA").tobytes()).cast("I")


def _dithered(rgb: Image.Image, subject: Box, colours: int, method: Quantize) -> Image.Image:
    return rgb.quantize(palette=_palette(_with_flat_areas(_common_colours(rgb, subject, colours - 1, method), rgb)))


def _with_flat_areas(entries: list[Colour], rgb: Image.Image) -> list[Colour]:
    """Return `entries` with the colours of flat areas, largest first, and one more if none is near the largest area."""
    flat_colours = _flat_colours(rgb.resize(SAMPLE, Image.Resampling.NEAREST))
    entries, max_entries = list(entries), len(entries) + 1
    for colour in flat_colours:
        nearest = min(range(len(entries)), key=lambda index: _largest_distance(entries[index], colour))
        if _largest_distance(entries[nearest], colour) > NEAR and len(entries) < max_entries:
            entries.append(colour)
        elif _largest_distance(entries[nearest], colour) <= NEAR and entries[nearest] not in flat_colours:
            entries[nearest] = colour
    return entries


def _common_colours(rgb: Image.Image, subject: Box, count: int, method: Quantize) -> list[Colour]:
    sample = rgb.resize(SAMPLE, Image.Resampling.NEAREST, subject)
    return [colour[:3] for colour in _colours(sample.quantize(count, method))][:count]


def _flat_colours(sample: Image.Image) -> list[Colour]:
    """Return the colours that cover the flat areas of an image, largest first."""
    pixels = sample.width * sample.height
    counted = sorted(sample.getcolors(pixels) or [], reverse=True)
    return [colour for count, colour in counted if count >= pixels * FLAT_SHARE and isinstance(colour, tuple)]


def _largest_distance(one: Colour, other: Colour) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _translucent(image: Image.Image, subject: Box, colours: int, method: Quantize) -> Image.Image:
    """Return a palette image with separate entries for opaque, translucent and fully transparent pixels."""
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    count = alpha.histogram()
    share = sum(count[1:255]) / max(1, sum(count[1:]))
    translucent = alpha.point([0, *[255] * 254, 0])
    mixed, mixtures = _mixed(rgba, translucent, subject, int(colours * min(0.75, max(0.25, share))), method)
    before = [(0, 0, 0, 0), *mixtures]
    solid = _dithered(_blacked_out(rgba, alpha.point([255] * 255 + [0])), subject, colours - len(before), method)
    opaque = [(*colour[:3], 255) for colour in _colours(solid)][: colours - len(before)]

    indexes = _indexes(solid).point([min(255, index + len(before)) for index in range(256)])
    indexes.paste(mixed.point([min(255, index + 1) for index in range(256)]), mask=translucent)
    indexes.paste(0, mask=alpha.point([255] + [0] * 255))
    return _palette_image(indexes, [*before, *opaque])


def _blacked_out(rgba: Image.Image, hidden: Image.Image) -> Image.Image:
    """Return `rgba` without alpha, with black where `hidden` is set: invisible colours need no entries."""
    rgb = rgba.convert("RGB")
    rgb.paste((0, 0, 0), mask=hidden)
    return rgb


def _mixed(
    rgba: Image.Image, translucent: Image.Image, subject: Box, max_colours: int, method: Quantize
) -> tuple[Image.Image, list[Colour]]:
    """Return the indexes of the translucent pixels, and their colours with alpha, at most `max_colours`.

    Tint and alpha are dithered separately; the most common mixtures are kept, and each other one becomes the nearest.
    """
    by_tint, tints = _by_tint(_blacked_out(rgba, ImageChops.invert(translucent)), subject, method)
    by_level, levels = _by_level(rgba.getchannel("A"))
    both = ImageChops.add(by_tint.point(lambda index: index * LEVELS), by_level)

    count = both.histogram(translucent)
    used = sorted((index for index in range(256) if count[index]), key=lambda index: -count[index])
    mixture = {index: (*tints[index // LEVELS], levels[index % LEVELS]) for index in used}
    kept = [mixture[index] for index in used[:max_colours]]
    nearest = [0] * 256
    for index in used:
        nearest[index] = min(range(len(kept)), key=lambda at: _distance(kept[at], mixture[index]))
    return both.point(nearest), kept


def _by_tint(rgb: Image.Image, subject: Box, method: Quantize) -> tuple[Image.Image, list[Colour]]:
    tints = _common_colours(rgb, subject, TINTS, method)
    return _indexes(rgb.quantize(palette=_palette(tints))), tints


def _by_level(alpha: Image.Image) -> tuple[Image.Image, list[int]]:
    levels = _levels(alpha.histogram())
    palette = _palette([(level, level, level) for level in levels])
    return _indexes(Image.merge("RGB", (alpha, alpha, alpha)).quantize(palette=palette)), levels


def _levels(count: list[int]) -> list[int]:
    """Return levels of alpha: 0, 255, and more in between where there are more pixels, weighted by the square root."""
    weights = [0.0, *(count[alpha] ** 0.5 for alpha in range(1, 255))]
    sums = list(accumulate(weights))
    wanted = [sums[-1] * (step + 0.5) / (LEVELS - 2) for step in range(LEVELS - 2)]
    between = {next(alpha for alpha, upto in enumerate(sums) if upto >= weight) for weight in wanted}
    return sorted({0, 255} | between)


def _distance(one: Colour, other: Colour) -> float:
    """Return the distance between two colours with alpha, for any background."""
    tint = sum((a * one[3] - b * other[3]) ** 2 for a, b in zip(one[:3], other[:3], strict=True)) / 255**2
    return tint + 3 * (one[3] - other[3]) ** 2


def _palette(colours: list[Colour]) -> Image.Image:
    """Return a palette for `quantize`, filled with its last colour: missing entries would be black."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(b"".join(bytes(colour) for colour in colours + colours[-1:] * (256 - len(colours))))
    return palette


def _indexes(image: Image.Image) -> Image.Image:
    return Image.frombytes("L", image.size, image.tobytes())


def _colours(image: Image.Image) -> list[Colour]:
    flat = image.getpalette("RGBA") or []
    return list(zip(*[iter(flat)] * 4, strict=True))


def _palette_image(indexes: Image.Image, colours: list[Colour]) -> Image.Image:
    """Return a palette image; its tRNS chunk omits the opaque colours at the end."""
    image = Image.frombytes("P", indexes.size, indexes.tobytes())
    image.putpalette(b"".join(bytes(colour[:3]) for colour in colours))
    alpha = bytes(colour[3] for colour in colours).rstrip(b"\xff")
    if alpha:
        image.info["transparency"] = alpha
    return image

"""The pictures of the demo's shop: which goods stand before which backdrop, and in which format each is served.

Everything is drawn, nothing is random: the same Pillow makes the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from imgsvc.demo.shop import room, table, wear
from imgsvc.demo.shop.encodings import (
    MEDIA_TYPES,
    Encode,
    avif,
    bmp,
    cmyk_jpeg,
    deep_grey_png,
    grey_jpeg,
    jpeg,
    moving_gif,
    palette_png,
    png,
    progressive_jpeg,
    sideways_jpeg,
    signed_jpeg,
    tiff,
    tiny_jpeg,
    webp,
)
from imgsvc.demo.shop.graphics import badge, gift_card
from imgsvc.demo.shop.painting import Camera, Parts, Placed
from imgsvc.demo.shop.studio import cut_out, draw, grainy

SAND, SAGE, ROSE, MIST = "#e8dccf", "#cfdcd0", "#f1d7cf", "#d5d9e6"
OAT, SKY, CLAY, DUSK = "#ebe4d0", "#d6e5ea", "#d9a58b", "#39415c"
TURNTABLE_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Photo:
    """One file that the origin serves; `name` is its file name."""

    name: str
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Shot:
    """What is in a picture and how it is stored; without a backdrop it is cut out."""

    name: str
    objects: tuple[Placed, ...]
    backdrop: str | None
    camera: Camera
    encode: Encode = jpeg

    def take(self) -> Image.Image:
        if self.backdrop is None:
            return cut_out(self.objects, self.camera)
        return grainy(draw(self.objects, self.camera, self.backdrop))


def photos() -> Iterator[Photo]:
    """Draw them one by one; about 3 s of CPU in all."""
    for shot in (*_table(), *_living(), *_worn()):
        yield _photo(shot.name, shot.encode(shot.take()))
    yield _photo("mug-turntable.gif", moving_gif([_turntable(i) for i in range(TURNTABLE_FRAMES)]))
    yield _photo("gift-card.png", palette_png(gift_card(1200)))
    yield _photo("gift-card-small.jpg", tiny_jpeg(gift_card(320)))
    yield _photo("badge.png", png(badge(300)))


def _photo(name: str, data: bytes) -> Photo:
    return Photo(name, data, MEDIA_TYPES[name.rpartition(".")[2]])


def _turntable(frame: int) -> Image.Image:
    mug = table.mug("#f6f2ea", "#e07a5f", 360 / TURNTABLE_FRAMES * frame)
    return draw((Placed(mug),), Camera((480, 480), y=16, zoom=1.7), SAND)


def _one(parts: Parts) -> tuple[Placed, ...]:
    return (Placed(parts),)


def _row(*goods: Parts, gap: float) -> tuple[Placed, ...]:
    """Side by side, every second one a little nearer."""
    middle = (len(goods) - 1) / 2
    return tuple(Placed(parts, x=(i - middle) * gap, y=-3 * (i % 2)) for i, parts in enumerate(goods))


def _table() -> tuple[Shot, ...]:
    mug, blue_mug = table.mug("#f6f2ea", "#e07a5f"), table.mug("#3f6074", "#f3dcb8", 115)
    vase, sage_vase = table.vase("#d98e73", "#f3d9c6"), table.vase("#8aa48f", "#e9efdf")
    teal, coral, navy = (table.bottle(colour, "#2f3e46") for colour in ("#4f8584", "#dd7a5f", "#46587f"))
    candle, plant = table.candle("#e9c9b5"), table.plant("#c8694a")
    oranges, lamp = table.orange_bowl("#7fa3b5"), table.lamp("#f2d6a2", "#3d405b")
    niche = Placed(room.arch(CLAY), hung=True)
    return (
        Shot("mug-front.jpg", _one(mug), SAND, Camera((1400, 1050), 3, 17, 1.8)),
        Shot("mug-detail.webp", _one(mug), SAND, Camera((1200, 900), 6, 22, 3.4), webp),
        Shot("mug-pair.jpg", _row(blue_mug, mug, gap=50), ROSE, Camera((1500, 1000), 4, 17, 1.5), progressive_jpeg),
        Shot("vase-terracotta.jpg", _one(vase), SAGE, Camera((1000, 1250), 0, 38), sideways_jpeg(6)),
        Shot("vase-sage.jpg", (niche, Placed(sage_vase)), OAT, Camera((1000, 1250), 0, 38), progressive_jpeg),
        Shot("bottle-trio.jpg", _row(teal, coral, navy, gap=26), MIST, Camera((2400, 1800), 0, 33, 1.15)),
        Shot("bottle-teal.jpg", _one(teal), ROSE, Camera((900, 1200), 0, 33, 1.2)),
        Shot("candle-front.jpg", _one(candle), MIST, Camera((1200, 1200), 1, 20, 1.9)),
        Shot("candle-mood.jpg", _one(candle), DUSK, Camera((1200, 900), 0, 22, 1.8), grey_jpeg),
        Shot("plant-front.jpg", _one(plant), OAT, Camera((1000, 1250), 0, 30, 1.2), sideways_jpeg(8)),
        Shot("plant-leaves.avif", _one(plant), OAT, Camera((1000, 800), 2, 42, 2.4), avif),
        Shot("oranges-front.png", _one(oranges), SKY, Camera((900, 720), 0, 22, 1.5), png),
        Shot("oranges-detail.jpg", _one(oranges), SKY, Camera((1200, 900), 3, 33, 2.8)),
        Shot("lamp-front.jpg", _one(lamp), SAND, Camera((1000, 1250), 0, 32, 1.25)),
        Shot("lamp-evening.jpg", _one(lamp), DUSK, Camera((1200, 900), 0, 33, 1.2), cmyk_jpeg),
    )


def _living() -> tuple[Shot, ...]:
    waves, dots = room.cushion("#efe4d4", "#5a7d7c"), room.cushion("#d98c73", "#f6e7d8", "dots")
    checks, poster = room.cushion("#3f5e7a", "#dfe6e8", "checks"), room.poster("#c79a63")
    chair, rust_chair = room.chair("#4f7f78"), room.chair("#b5613f", "#7a5236")
    book, red_book = room.book("#2f5d62", "#dfa878"), room.book("#a8483f", "#f0d3a5")
    return (
        Shot("cushion-waves.jpg", _one(waves), SKY, Camera((1200, 1200), 0, 27, 1.35)),
        Shot("cushion-dots.jpg", _one(dots), MIST, Camera((1200, 1200), 0, 27, 1.35)),
        Shot("cushion-checks.webp", _one(checks), SAGE, Camera((1000, 1000), 0, 27, 1.35), webp),
        Shot("poster-front.jpg", (Placed(poster, hung=True),), OAT, Camera((1000, 1250), 0, 37, 1.2)),
        Shot("poster-scan.png", (Placed(poster, hung=True),), OAT, Camera((600, 800), 0, 37, 1.75), deep_grey_png),
        Shot("living-room.jpg", _corner(), ROSE, Camera((1600, 1000), 0, 38, 0.95), progressive_jpeg),
        Shot("chair-front.jpg", _one(chair), SAND, Camera((2400, 1800), 0, 33, 1.2)),
        Shot("chair-rust.avif", _one(rust_chair), SKY, Camera((1000, 800), 0, 33, 1.2), avif),
        Shot("book-cover.jpg", _one(book), ROSE, Camera((1200, 1200), 0, 26, 1.4)),
        Shot("book-pair.jpg", _row(red_book, book, gap=44), SAGE, Camera((1400, 1050), 0, 26, 1.3)),
        Shot("clock-front.bmp", (Placed(room.clock("#d9a441"), hung=True),), SAGE, Camera((700, 560), 0, 40, 1.4), bmp),
        Shot("gift-box.jpg", _one(room.gift_box("#c9566b", "#f3d6a0")), OAT, Camera((1200, 900), 0, 23, 1.6)),
    )


def _corner() -> tuple[Placed, ...]:
    """Several goods as they may stand at home."""
    return (
        Placed(room.poster("#c79a63"), -34, 38, 0.62, hung=True),
        Placed(table.plant("#e9e0d2"), -54, 2, 0.75),
        Placed(room.chair("#4f7f78"), 8, 0, 0.95),
        Placed(room.cushion("#efe4d4", "#5a7d7c"), 8, 27, 0.42),
        Placed(table.lamp("#f2d6a2", "#3d405b"), 56, 4, 1.1),
    )


def _worn() -> tuple[Shot, ...]:
    coral, ink = wear.sneaker("#f5f1ea", "#e4694f"), wear.sneaker("#3c4a66", "#e9b872")
    blue, moss = wear.backpack("#3d5a80", "#b5763d"), wear.backpack("#66754f", "#d8b98a")
    cream, black = wear.headphones("#eee6da"), wear.headphones("#3d3f4a", "#6e6260")
    watch, shades = wear.watch("#8a5a3c"), wear.sunglasses("#6b4530", "#3c3a3e")
    two = (Placed(ink, 6, 13, 0.85), Placed(coral, -5, -2))
    return (
        Shot("sneaker-coral.jpg", _one(coral), SKY, Camera((2000, 1500), 1, 19, 1.35)),
        Shot("sneaker-coral-detail.jpg", _one(coral), SKY, Camera((1200, 900), 12, 18, 2.9)),
        Shot("sneaker-ink.jpg", _one(ink), SAND, Camera((1400, 1050), 1, 19, 1.35)),
        Shot("sneaker-pair.webp", two, OAT, Camera((1200, 900), 0, 24, 1.25), webp),
        Shot("backpack-blue.jpg", _one(blue), ROSE, Camera((1200, 1200), 0, 34, 1.15), signed_jpeg),
        Shot("backpack-moss.webp", _one(moss), OAT, Camera((1000, 1000), 0, 34, 1.15), webp),
        Shot("backpack-detail.jpg", _one(blue), ROSE, Camera((1200, 900), 2, 32, 2.4)),
        Shot("headphones-cream.jpg", _one(cream), MIST, Camera((1200, 1200), 0, 29, 1.35)),
        Shot("headphones-black.tif", _one(black), SAND, Camera((800, 640), 0, 29, 1.35), tiff),
        Shot("headphones-cutout.png", _one(cream), None, Camera((900, 900), 0, 29, 1.45), png),
        Shot("watch-front.jpg", _one(watch), OAT, Camera((1000, 1250), 0, 36, 1.15)),
        Shot("watch-dial.jpg", _one(watch), OAT, Camera((1200, 900), 2, 37, 2.6)),
        Shot("sunglasses-front.jpg", _one(shades), CLAY, Camera((1400, 1000), 0, 14, 1.5)),
        Shot("sunglasses-cutout.webp", _one(shades), None, Camera((1000, 500), 0, 12, 2.6), webp),
        Shot("sticker-fox.png", _one(wear.sticker()), None, Camera((800, 800), 0, 32, 1.9), png),
    )

"""Goods for the living room: to sit on, to read, to hang up."""

from collections.abc import Mapping
from math import cos, pi, sin

from imgsvc.demo.shop.light import Finish
from imgsvc.demo.shop.painting import Part, Parts
from imgsvc.demo.shop.shapes import Outline, blob, box, line, mirrored, oval, points, ring

FLAT, SOFT = Finish.flat, Finish.soft
LINEN = "#f6f0e4"
# Colour, height, roughness and phase of each range of mountains, the farthest first.
RANGES = (
    ("#e0a899", 41, 5, 0.9),
    ("#b77f8b", 35, 5.5, 2.6),
    ("#7f6285", 28.5, 5, 4.2),
    ("#4d4a75", 22.5, 4, 0.4),
    ("#2c3358", 17.5, 3, 5.1),
)


def book(cover: str, accent: str) -> Parts:
    hills = points("-19,0 -19,5.7 -13,11.5 -9.3,8 -2.5,18 3.3,10.8 7.7,14.4 17,4.3 17,0")
    edges = tuple(line(0.25, [(17.6 + i * 0.7, 0), (17.6 + i * 0.7, 54)]) for i in range(4))
    return (
        Part(points("-16,2 -16,50 -12,53 20,53 20,5 16,2"), "#fbf5e6", FLAT, pattern=edges, ink="#d8cdb5"),
        Part(box(-19, 0, 17, 51, 0.8), cover, SOFT, 1.2, pattern=(hills, oval(5, 32, 5.5, 5.5)), ink=accent),
        Part(box(-19, 0, -15.4, 51, 0.8), cover, SOFT, 0.8, lift=0.5),
        Part(line(1.3, "-10,44.5 12,44.5"), LINEN, FLAT),
        Part(line(0.6, "-6,41.2 8,41.2"), LINEN, FLAT),
    )


def poster(frame: str) -> Parts:
    """Mountains at dusk."""
    return (
        Part(box(-24.5, 5, 24.5, 69), frame, SOFT, 0.9),
        Part(box(-23, 6.5, 23, 67.5), "#fbf7ef", SOFT, 0.7),
        Part(box(-20, 10, 20, 64), "#f3cfae", FLAT),
        Part(oval(6, 51, 5, 5), "#fdebc8", FLAT),
        *(Part(_range(height, rough, phase), colour, FLAT) for colour, height, rough, phase in RANGES),
    )


def _range(height: float, rough: float, phase: float) -> Outline:
    def peak(x: float) -> float:
        return sin(x * 0.21 + phase) + 0.45 * sin(x * 0.63 + phase * 2.3) + 0.16 * sin(x * 1.9 + phase)

    return ((-20, 10), *((x, height + rough * peak(x)) for x in range(-20, 21)), (20, 10))


def cushion(cloth: str, accent: str, weave: str = "waves") -> Parts:
    left = points("0,51.2 -22,53.2 -26,53 -27,49.6 -25.4,27 -27,4 -26,0.6 -22,0.4 0,2")
    outline = blob((*left, *mirrored(left[1:-1])))
    return (
        Part(outline, cloth, SOFT, 8, pattern=_weaves()[weave], ink=accent),
        Part(ring(outline, 0.7), accent, SOFT, 0.4),
    )


def _weaves() -> Mapping[str, tuple[Outline, ...]]:
    waves = tuple(line(1.5, [(x, y + 2.2 * cos(x * 0.36)) for x in range(-32, 33, 2)]) for y in range(2, 60, 6))
    dots = tuple(oval(x + y % 16 / 2, y, 1.9, 1.9) for y in range(4, 60, 8) for x in range(-32, 33, 8))
    checks = tuple(box(x, y, x + 6, y + 6) for y in range(0, 60, 6) for x in range(-36 + y % 12, 36, 12))
    return {"waves": waves, "dots": dots, "checks": checks}


def chair(cloth: str, wood: str = "#b98552") -> Parts:
    back = points("-21,24 -23,44 -20,62 -12,66.5 0,67.2")
    seams = tuple(line(0.5, [(x, 24), (x * 1.06, 46), (x * 0.96, 70)]) for x in (-13, -6.5, 0, 6.5, 13))
    hind, front = line(2.2, "-15,22 -17.5,12 -19.5,4"), line(2.6, "-17,22 -18.6,10 -20.5,0.5")
    arm = blob("-27,20 -30,32 -28.5,42 -24,43.5 -21.5,40 -21.5,24 -22.5,18.5")
    return (
        *(Part(leg, wood, SOFT, 0.8) for leg in (hind, mirrored(hind))),
        Part(blob((*back, *mirrored(back[:-1]))), cloth, SOFT, 6, pattern=seams, ink="#2f3b3a"),
        *(Part(leg, wood, SOFT, 0.9, lift=0.4) for leg in (front, mirrored(front))),
        Part(blob("-24,20 -25,27 -22,31.5 0,32.5 22,31.5 25,27 24,20 0,18.2"), cloth, SOFT, 4, lift=1.6),
        *(Part(side, cloth, SOFT, 3, lift=0.8) for side in (arm, mirrored(arm))),
    )


def clock(rim: str) -> Parts:
    ticks = tuple(
        line(0.45 if i % 3 else 1.0, [(r * sin(i * pi / 6), 40 + r * cos(i * pi / 6)) for r in (17, 20.2)])
        for i in range(12)
    )
    return (
        Part(oval(0, 40, 26, 26), rim, SOFT, 1.8),
        Part(oval(0, 40, 23, 23), "#fbf8f1", FLAT, pattern=ticks, ink="#3b4a54"),
        Part(line(1.5, "0,40 -8,47.8"), "#33414b", SOFT, 0.6, lift=0.5),
        Part(line(1.1, "0,40 12,50.2"), "#33414b", SOFT, 0.5, lift=0.5),
        Part(oval(0, 40, 1.7, 1.7), rim, SOFT, 0.8, lift=0.3),
    )


def arch(colour: str) -> Parts:
    """No goods: a niche to stand them before."""
    bend = tuple((25 * cos(i * pi / 24), 50 + 25 * sin(i * pi / 24)) for i in range(25))
    return (Part((*bend, (-25, 14), (25, 14)), colour, FLAT),)


def gift_box(paper: str, ribbon: str) -> Parts:
    dots = tuple(oval(x + y % 10 * 0.6, y, 0.9, 0.9) for y in range(2, 34, 5) for x in range(-21, 22, 6))
    bow = blob("0,38 -5,44 -13,48 -17,43.5 -13,38.5 -5,37.4")
    fold = blob("-4,39.4 -8,42.6 -12.4,44.4 -13.8,42 -9,39.6")
    return (
        Part(box(-20, 0, 20, 30, 0.8), paper, SOFT, 2.4, pattern=dots, ink="#fff6e6"),
        Part(box(-3, 0, 3, 30), ribbon, SOFT, 0.8, lift=0.4),
        Part(box(-21.8, 28, 21.8, 37, 0.8), paper, SOFT, 1.8, lift=1.2),
        Part(box(-3.2, 28, 3.2, 37), ribbon, SOFT, 0.8, lift=0.3),
        *(Part(side, ribbon, SOFT, 2.2, lift=0.8) for side in (bow, mirrored(bow))),
        *(Part(side, "#7c2f3a", FLAT) for side in (fold, mirrored(fold))),
        Part(blob("-3,36.6 -3.2,41 0,42.4 3.2,41 3,36.6"), ribbon, SOFT, 1.4, lift=0.5),
    )

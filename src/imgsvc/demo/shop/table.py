"""Goods for the table and the sill: pots, glasses, and what stands in them."""

from math import cos, radians, sin

from imgsvc.demo.shop.light import Finish
from imgsvc.demo.shop.painting import Part, Parts
from imgsvc.demo.shop.shapes import TILT, blob, line, oval, points, turned

FLAT, SOFT, TURNED = Finish.flat, Finish.soft, Finish.turned
FRUIT = ((-9, 30, "#ee8a1d"), (8, 31, "#f29a2e"), (-17, 26, "#f5a53a"), (17, 26.5, "#ea8119"), (0, 37, "#f7a636"))
STEMS = (-15, -6, 3, 13)
TUFTS = ((-1.6, -5, "#d9b98a"), (1.7, -3, "#e6cda4"), (0, 1.5, "#f0dfc2"))


def _mouth(radius: float, y: float, rim: str, inside: str) -> Parts:
    """The opening of a turned body, with what is inside."""
    return (
        Part(oval(0, y, radius, radius * TILT), rim, FLAT, gloss=0.9),
        Part(oval(0, y, radius - 1, (radius - 1) * TILT), inside, SOFT, 2.5),
    )


def mug(colour: str, accent: str, turn: float = 60) -> Parts:
    """Dotted; `turn` is where the handle is, in degrees: 0 towards us, 90 to the right."""
    angle = radians(turn)
    loop = [(x * sin(angle), y - 1.5 * cos(angle)) for x, y in points("14,27 25,28 28,17 22,9 14,8")]
    handle = Part(line(4.2, loop), colour, SOFT, 1.6, lift=0.8 * max(0, cos(angle)))
    dots = [(angle + radians(22.5 * (i + row / 2)), 10 + 6.5 * row) for i in range(16) for row in range(3)]
    seen = tuple(oval(16 * sin(a), y - 2.7 * cos(a), 2.3 * cos(a), 2.3) for a, y in dots if cos(a) > 0.1)
    body = Part(turned("16,33 16,20 15.8,8 14.5,3.5 11.5,2"), colour, TURNED, pattern=seen, ink=accent)
    cup = (body, *_mouth(16, 33, colour, "#3a2418"))
    return (*cup, handle) if cos(angle) > 0 else (handle, *cup)


def vase(colour: str, band: str) -> Parts:
    """With four stems of dried grass."""
    tips = [(lean, 74 + 3 * cos(lean)) for lean in STEMS]
    stripes = tuple(line(0.9, [(-18, y + 1), (0, y - 1.6), (18, y + 1)]) for y in (27.5, 24, 14))
    return (
        *(Part(line(0.7, [(0, 44), (x * 0.4, 62), (x, y)]), "#b99b6b", FLAT) for x, y in tips),
        *(Part(oval(x + dx, y + dy, 2.2, 3.4), shade, SOFT, 1.5) for x, y in tips for dx, dy, shade in TUFTS),
        Part(turned("4.6,49 4.2,44 6,39 13,31 16.5,20 14,8 9.5,2"), colour, TURNED, pattern=stripes, ink=band),
        *_mouth(4.6, 49, colour, "#4a3a30"),
    )


def bottle(colour: str, cap: str) -> Parts:
    fir = "0,32 -3,27 -1.5,27 -4,22 -0.7,22 -0.7,19 0.7,19 0.7,22 4,22 1.5,27 3,27"
    return (
        Part(turned("5.4,56 6.5,53.5 8.7,50.5 9.5,46.5 9.5,30 9.5,8 9,2"), colour, TURNED, gloss=0.75),
        Part(turned("5.6,63 5.7,60 5.7,56"), cap, TURNED, lift=0.5),
        Part(oval(0, 63, 5.6, 5.6 * TILT), cap, FLAT, gloss=0.9),
        Part(line(1.3, "-3,63 -2.6,67.5 2.6,67.5 3,63"), "#3a3a40", SOFT, 0.6),
        Part(points(fir), "#f7f2e8", FLAT),
    )


def candle(glass: str) -> Parts:
    print_lines = (line(0.35, "-4,16 4,16"), line(0.9, "-3.5,13.6 3.5,13.6"), line(0.35, "-2,11 2,11"))
    return (
        Part(turned("11.5,29 11.5,15 11.5,4 11,2.5"), glass, TURNED, gloss=0.9),
        *_mouth(11.5, 29, "#fff7ea", "#f3dfc0"),
        Part(line(0.6, "0,28.5 0.2,32"), "#3a2a20", FLAT),
        Part(blob("0,39.5 -1.7,34.5 -1.5,31.6 0,30.6 1.5,31.6 1.7,34.5"), "#ffb43c", FLAT, gloss=0.9),
        Part(blob("0,35.5 -0.8,33 0,31.3 0.8,33"), "#fff6d8", FLAT),
        Part(turned("7,19 7,9"), "#faf6ee", TURNED, pattern=print_lines, ink="#57483c"),
    )


def _leaf(x: float, y: float, angle: float, length: float, colour: str) -> Part:
    along, across = length * cos(radians(angle)), length * sin(radians(angle))
    turn = [
        (x + a * along - b * across, y + a * across + b * along)
        for a, b in points("0,0 0.3,0.2 0.65,0.19 1,0 0.65,-0.19 0.3,-0.2 0.5,0.01 0.95,0")
    ]
    vein = line(0.35, (turn[0], *turn[6:]))
    return Part(blob(turn[:6]), colour, SOFT, 2.2, lift=0.8, pattern=(vein,), ink="#b9d6a2")


def plant(pot: str, dark: str = "#3f7d58", light: str = "#5c9e6c") -> Parts:
    back = enumerate((165, 20, 140, 42, 118, 65, 92, 150, 30, 105, 78))
    return (
        *(_leaf(0, 26, angle, 27 + 9 * sin(i * 2.1), (dark, light)[i % 2]) for i, angle in back),
        Part(turned("13.5,24 12.6,14 10.8,4 10.2,2"), pot, TURNED),
        Part(turned("14.6,27 14.6,25 14.4,22.5"), pot, TURNED, lift=0.9),
        *_mouth(14.6, 27, pot, "#4b3527"),
        *(_leaf(0, 27, angle, 22, (dark, light)[i % 2]) for i, angle in enumerate((172, 8, 128, 55))),
    )


def orange_bowl(bowl: str) -> Parts:
    side = "-29,25 -25,13 -15,4.5 -8.5,2.2 0,1.2 8.5,2.2 15,4.5 25,13 29,25 18,21.2 0,19.9 -18,21.2"
    return (
        *_mouth(29, 25, bowl, "#6d5a4c"),
        *(Part(oval(x, y, 8.4, 8.2), c, SOFT, 5.5, lift=1.2, gloss=0.75) for x, y, c in (*FRUIT, (0, 26.5, "#ef8f22"))),
        Part(line(0.9, "0,44.6 0.6,46.6"), "#6a4a2a", FLAT),
        _leaf(0.4, 45.6, 24, 9, "#4d8b4f"),
        Part(blob(side), bowl, SOFT, 6, lift=1.0),
    )


def lamp(shade: str, base: str) -> Parts:
    return (
        Part(turned("9.5,3.4 9.8,2.4 9.8,1.6"), base, TURNED),
        Part(oval(0, 3.4, 9.5, 9.5 * TILT), base, FLAT),
        Part(line(1.5, "0,3.4 0,18 0,42"), base, SOFT, 0.6),
        Part(oval(0, 40, 19, 19 * TILT), "#fff0c4", FLAT, gloss=0.9),
        Part(turned("10.5,62 12.5,56 16,47 19,40"), shade, TURNED, gloss=0.7),
        Part(oval(0, 62, 10.5, 10.5 * TILT), "#fff4d6", FLAT, gloss=0.9),
        Part(line(0.35, "7,38 7.2,34 7,29"), "#c9a45c", FLAT),
        Part(oval(7, 28.6, 0.9, 0.9), "#c9a45c", SOFT, 0.5),
    )

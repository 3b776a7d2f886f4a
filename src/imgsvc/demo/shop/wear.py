"""Goods to wear and to carry, and a sticker."""

from math import cos, pi, sin

from imgsvc.demo.shop.light import Finish
from imgsvc.demo.shop.painting import Part, Parts
from imgsvc.demo.shop.shapes import Outline, blob, box, line, mirrored, oval, points, ring

FLAT, SOFT = Finish.flat, Finish.soft
BLACK, BRASS = "#35333c", "#e0bd83"


def _both(outline: Outline) -> tuple[Outline, Outline]:
    return outline, mirrored(outline)


def sneaker(upper: str, accent: str, sole: str = "#fbf8f2") -> Parts:
    tongue = blob("-8,30 -6.8,38 -3,41 0.4,38.5 3.4,30 0,27")
    body = "-31,8 -32.3,20 -30.5,33 -27,36 -22,32 -14,29.6 -7,32.6 -2,33 6,25 16,19.3 27,16.6 34.5,12 35.5,7.5 0,6"
    laces = [
        line(1.4, [(x, y), (x + 4, y + 2.6), (x + 7.6, y + 2)])
        for x, y in points("-7.4,28.2 -3.2,25.2 1,22.2 5.2,19.6")
    ]
    stripes = blob("-19,8.5 -11,17 -2.5,25.5 1,24 -4,15.5 -10,8.5"), blob("-4,8.5 1,14.5 6,21 9,19.6 5.5,13 2.5,8.5")
    rubber = blob("-33,9.8 -20,9.2 0,8.6 20,8.6 36,9 37.8,6 35.5,1.8 15,1 -10,1 -30,1.2 -34.2,4.5")
    return (
        Part(blob("-28,31 -23,37 -12,35.5 -6,34 -8,27 -20,25"), "#6b5d58", SOFT, 2),
        Part(tongue, accent, SOFT, 2),
        Part(blob(body), upper, SOFT, 4.5, lift=0.6),
        Part(blob("17,18.6 27,16.6 34.5,12 35.3,7 20,6.6 17.5,11"), accent, SOFT, 3, lift=0.5),
        Part(blob("-31.2,8 -32.3,20 -30.4,30.5 -26,30 -23.5,20 -21,8"), accent, SOFT, 2.6, lift=0.5),
        *(Part(stripe, accent, SOFT, 1.4, lift=0.4) for stripe in stripes),
        *(Part(lace, "#fffdf8", SOFT, 0.6, lift=0.5) for lace in laces),
        Part(rubber, sole, SOFT, 1.8, lift=0.5),
        Part(line(0.6, "-33.6,4.6 0,4 36.8,4.6"), accent, FLAT),
    )


def backpack(cloth: str, trim: str) -> Parts:
    half = points("0,64.8 -11,63.5 -19,54 -20.5,30 -19.5,4 0,2")
    badge = line(0.7, "-2.8,44.6 -0.6,48 0.6,45.8 1.4,47 2.9,44.6")
    return (
        Part(line(2.4, "-4,62 -4.5,68.5 4.5,68.5 4,62"), trim, SOFT, 0.9),
        *(Part(pocket, cloth, SOFT, 2.5) for pocket in _both(blob("-17,8 -24,12 -23.5,34 -17,38"))),
        Part(blob((*half, *mirrored(half[1:-1]))), cloth, SOFT, 6.5),
        Part(line(0.8, "-18.6,40 -16,55 -9,60.6 0,61.6 9,60.6 16,55 18.6,40"), trim, SOFT, 0.4),
        Part(box(-15, 6, 15, 30, 5), cloth, SOFT, 3.2, lift=1.4),
        Part(line(0.7, "-12.4,26 0,26.4 12.4,26"), trim, SOFT, 0.4),
        Part(box(7.6, 20.5, 9.4, 26.4, 0.8), BRASS, SOFT, 0.5, lift=0.3, gloss=0.9),
        Part(box(-5.2, 42, 5.2, 50, 1.2), trim, SOFT, 0.8, lift=0.6, pattern=(badge,), ink="#f4e6cf"),
    )


def headphones(shell: str, pad: str = "#37333b") -> Parts:
    band = points("-21,22 -22.5,38 -15,52 0,57 15,52 22.5,38 21,22")
    inner = [(x * 0.88, y * 0.985 - 1.6) for x, y in band[1:-1]]
    pads = _both(blob("12,18 13.5,6 18,0.6 21,2 21.5,30 18,34 13.5,29"))
    shells = _both(blob("20,34 26,31.5 29.5,18 26,2.5 20,0 18.6,17"))
    return (
        Part(line(5.2, band), shell, SOFT, 2),
        Part(line(2.2, inner), pad, SOFT, 1, lift=0.3),
        *(Part(side, pad, SOFT, 2.4, lift=0.8) for side in pads),
        *(Part(side, shell, SOFT, 3.2, lift=0.6, gloss=0.8) for side in shells),
        *(Part(side, BRASS, SOFT, 0.5) for side in _both(line(1.0, "24.4,9 25.6,17 24.4,25"))),
    )


def watch(strap: str, case: str = "#d9c19a") -> Parts:
    ticks = tuple(
        line(0.35 if i % 3 else 0.75, [(r * sin(i * pi / 6), 36 + r * cos(i * pi / 6)) for r in (9.4, 11.4)])
        for i in range(12)
    )
    holes = tuple(oval(0, y, 0.75, 0.75) for y in (6, 9.6, 13.2))
    return (
        Part(blob("-6.2,46 -5.6,60 -5,69 0,70 5,69 5.6,60 6.2,46"), strap, SOFT, 1.6),
        Part(blob("-6.2,26 -5.6,12 -5,3 0,1.4 5,3 5.6,12 6.2,26"), strap, SOFT, 1.6, pattern=holes, ink="#2a2320"),
        Part(box(-6, 58.5, 6, 61.2, 0.8), strap, SOFT, 0.6, lift=0.5),
        Part(box(14.5, 34.2, 17.6, 37.8, 0.8), case, SOFT, 0.7, gloss=0.9),
        Part(oval(0, 36, 15.4, 15.4), case, SOFT, 1.4, lift=1.2, gloss=0.95),
        Part(oval(0, 36, 13.2, 13.2), "#f7f4ec", FLAT, pattern=ticks, ink="#3c3a44"),
        Part(line(0.95, "0,36 -5,41.4"), BLACK, SOFT, 0.4, lift=0.25),
        Part(line(0.75, "0,36 6.6,44.2"), BLACK, SOFT, 0.4, lift=0.25),
        Part(line(0.3, "1.2,39 -2.6,27"), "#d1553f", FLAT),
        Part(oval(0, 36, 0.9, 0.9), case, SOFT, 0.5, lift=0.2),
    )


def sunglasses(frame: str, lens: str) -> Parts:
    glass = "-5,14.4 -6.2,7 -13,2.8 -22.4,4.8 -26,13 -26,17.4 -16,18.4 -6.2,17"
    glint = points("-22,0 -18,0 -10,21 -14,21"), points("-16,0 -14.4,0 -6.4,21 -8,21")
    right = tuple(tuple((x + 32, y) for x, y in shape) for shape in glint)
    rims = _both(blob("-3,15 -4.4,6 -13,0.6 -23.5,3 -28,13 -28.6,19.4 -16,20.4 -4.6,19"))
    return (
        *(Part(arm, frame, SOFT, 0.6) for arm in _both(line(1.5, "28,18 25,23.5 17,26.5"))),
        *(Part(rim, frame, SOFT, 1.1, gloss=0.8) for rim in rims),
        *(
            Part(side, lens, SOFT, 3.4, gloss=0.9, pattern=shine, ink="#a79b96")
            for side, shine in zip(_both(blob(glass)), (glint, right), strict=True)
        ),
        Part(line(2.0, "-4.6,16.6 0,18.4 4.6,16.6"), frame, SOFT, 0.7, gloss=0.8),
    )


def sticker() -> Parts:
    """A fox with a white border."""
    left = points("0,43.5 -8,45 -20,52 -22,36 -14,20 0,12")
    head = blob((*left, *mirrored(left[1:-1])))
    return (
        Part(ring(head, 7), "#ffffff", FLAT),
        Part(head, "#e8793a", SOFT, 3.4),
        *(Part(side, "#fff3e2", SOFT, 2) for side in _both(blob("3,20 2,29 10,33 19,36 13.4,22.4 5,15"))),
        *(Part(side, "#2d2228", SOFT, 0.8, gloss=0.9) for side in _both(oval(8, 34, 1.9, 2.2))),
        Part(blob("-2.8,18 0,19.4 2.8,18 0,14.4"), "#2d2228", SOFT, 1, gloss=0.9),
    )

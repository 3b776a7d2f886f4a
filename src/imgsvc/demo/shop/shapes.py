"""Outlines to draw with: ovals, boxes, smooth blobs and lines, and bodies made on a lathe.

An outline is closed. It begins at its top and goes round the left side first, so that the second half of an upright
one mirrors the first. Lengths: see painting.py; y is up.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import atan2, cos, pi, sin

Point = tuple[float, float]
Outline = tuple[Point, ...]
Sketch = str | Sequence[Point]  # points, or "x,y x,y" as in SVG

FOOT = 12  # points of the foot of a turned body on each side
TILT = 0.17  # how far from above we look: the height of a circle on the floor as a share of its width


def points(sketch: Sketch) -> Outline:
    """What is sketched, with straight edges."""
    if isinstance(sketch, str):
        return tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in sketch.split()))
    return tuple(sketch)


def mirrored(outline: Outline) -> Outline:
    return tuple((-x, y) for x, y in reversed(outline))


def oval(x: float, y: float, rx: float, ry: float) -> Outline:
    turns = [2 * pi * (i + 0.5) / 72 for i in range(72)]
    return tuple((x - rx * sin(turn), y + ry * cos(turn)) for turn in turns)


def box(left: float, low: float, right: float, high: float, radius: float = 0.0) -> Outline:
    """A rectangle with round corners."""
    inner = (left + radius, right - radius), (low + radius, high - radius)
    corners = ((inner[0][i], inner[1][j]) for i, j in ((0, 1), (0, 0), (1, 0), (1, 1)))
    return tuple(
        (x + radius * cos(turn), y + radius * sin(turn))
        for corner, (x, y) in enumerate(corners, start=1)
        for turn in ((corner + i / 8) * pi / 2 for i in range(9))
    )


def blob(sketch: Sketch) -> Outline:
    """A smooth outline through the sketched points."""
    through = points(sketch)
    return tuple(_curve([through[-1], *through, *through[:2]], steps=10))


def turned(sketch: Sketch) -> Outline:
    """A body of revolution from its (radius, height) points, top first; it stands on a round foot."""
    profile = points(sketch)
    radius, low = profile[-1]
    right = [*_curve([profile[0], *profile, profile[-1]], steps=10)]
    turns = [i / FOOT * pi / 2 for i in range(FOOT)]
    right += [(radius * cos(turn), low - TILT * radius * sin(turn)) for turn in turns]
    return (*((-x, y) for x, y in right), *reversed(right))


def line(width: float, sketch: Sketch) -> Outline:
    """The edge of a smooth line through the sketched points that has round ends."""
    through = points(sketch)
    path = [*_curve([through[0], *through, through[-1]], steps=12), through[-1]]
    left, right = _edges(path, width)
    ends = (_cap(right[0], left[0]), _cap(left[-1], right[-1]))
    return (*ends[0], *left, *ends[1], *reversed(right))


def ring(outline: Outline, width: float) -> Outline:
    """A closed line along `outline`."""
    outside, inside = _edges([*outline, outline[0]], width)
    return (*outside, *reversed(inside))


def _edges(path: Sequence[Point], width: float) -> tuple[list[Point], list[Point]]:
    """What runs along `path` on its left and on its right."""
    angles = [atan2(b[1] - a[1], b[0] - a[0]) for a, b in pairwise(path)]
    angles.append(angles[0] if path[0] == path[-1] else angles[-1])
    steps = [(-sin(angle) * width / 2, cos(angle) * width / 2) for angle in angles]
    left = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(path, steps, strict=True)]
    right = [(x - dx, y - dy) for (x, y), (dx, dy) in zip(path, steps, strict=True)]
    return left, right


def _cap(start: Point, end: Point) -> Iterator[Point]:
    """A half circle, clockwise."""
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    dx, dy = start[0] - x, start[1] - y
    for i in range(1, 8):
        c, s = cos(i / 8 * pi), -sin(i / 8 * pi)
        yield x + dx * c - dy * s, y + dx * s + dy * c


def _curve(through: Sequence[Point], *, steps: int) -> Iterator[Point]:
    """A Catmull-Rom spline: through all points but the first and the last, which only give the direction."""
    for (x0, y0), (x1, y1), (x2, y2), (x3, y3) in zip(through, through[1:], through[2:], through[3:], strict=False):
        for step in range(steps):
            t = step / steps
            yield _between(x0, x1, x2, x3, t), _between(y0, y1, y2, y3, t)


def _between(a: float, b: float, c: float, d: float, t: float) -> float:
    return b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))) / 2

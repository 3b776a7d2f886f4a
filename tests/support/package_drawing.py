"""Draws the packages and their imports: docs/images/packages.svg, and a table in docs/architecture.md.

make drawing
"""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from html import escape

import grimp

from support.paths import DOCS, ROOT

PAGE = DOCS / "architecture.md"
IMAGE = DOCS / "images" / "packages.svg"
SOURCE = ROOT / "src" / "imgsvc"
BEGIN, END = "<!-- packages: written by `make drawing` -->", "<!-- end of packages -->"

FLOORS = ("adapters", "services", "domain")
"""Packages that are drawn by the packages inside them; a file directly in one belongs to a room of the floor's name."""
COLOURS = {"adapters": "#fde8cf", "services": "#d9ead3", "domain": "#d6e4f5"}

Imports = Mapping[str, frozenset[str]]

WIDTH, HEIGHT, GAP, STEP, MARGIN = 138, 30, 18, 88, 14


@cache
def imports() -> Imports:
    """Return the rooms that each room imports. Files directly in imgsvc (errors, logs, bootstrap) are left out."""
    return _imports(with_loose_files=False)


@cache
def all_imports() -> Imports:
    """Return the imports of each room and of each file directly in imgsvc."""
    return _imports(with_loose_files=True)


def _imports(*, with_loose_files: bool) -> Imports:
    graph = grimp.build_graph("imgsvc")
    rooms: dict[str, set[str]] = {}
    for module in graph.modules:
        room = room_of(module)
        if room is None or not (with_loose_files or _is_package(room)):
            continue
        targets = {room_of(target) for target in graph.find_modules_directly_imported_by(module)}
        wanted = {target for target in targets if target and (with_loose_files or _is_package(target))}
        rooms.setdefault(room, set()).update(wanted - {room})
    empty = {floor for floor in FLOORS if not any(path.stem != "__init__" for path in (SOURCE / floor).glob("*.py"))}
    return {room: frozenset(targets - empty) for room, targets in sorted(rooms.items()) if room not in empty}


def room_of(module: str) -> str | None:
    """Return the room of a module, such as `services/intake`; None for imgsvc itself."""
    _, *parts = module.split(".")
    if not parts:
        return None
    depth = 2 if parts[0] in FLOORS and len(parts) > 1 and _is_package("/".join(parts[:2])) else 1
    return "/".join(parts[:depth])


def _is_package(room: str) -> bool:
    return (SOURCE / room).is_dir()


def cycles(graph: Imports) -> list[str]:
    """Return the rooms that import themselves through others."""
    return [room for room in graph if room in _reached(graph, room)]


def _reached(graph: Imports, room: str) -> set[str]:
    """Return all rooms that `room` imports, directly or through others."""
    found: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        if (target := waiting.pop()) not in found:
            found.add(target)
            waiting += graph[target]
    return found


def reduced(graph: Imports) -> Imports:
    """Return `graph` without the arrows that a longer way implies."""
    return {
        room: frozenset(t for t in targets if not any(t in _reached(graph, other) for other in targets - {t}))
        for room, targets in graph.items()
    }


# -- the image --------------------------------------------------------------------------------------------------------


def drawing() -> str:
    graph = imports()
    arrows = reduced(graph)
    rows = _ordered(_rows(graph), arrows)
    width = 2 * MARGIN + max(len(row) for row in rows) * (WIDTH + GAP) - GAP
    place = {
        room: (width / 2 + (number - (len(row) - 1) / 2) * (WIDTH + GAP), MARGIN + level * STEP)
        for level, row in enumerate(rows)
        for number, room in enumerate(row)
    }
    lines = [_arrow(place[room], place[target]) for room in arrows for target in sorted(arrows[room])]
    boxes = [_box(room, *place[room]) for room in place]
    height = 2 * MARGIN + (len(rows) - 1) * STEP + HEIGHT
    return "\n".join([_HEAD.format(width=width, height=height), *lines, *boxes, "</svg>", ""])


_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<title>The packages of imgsvc and their imports; arrows that a longer way implies are left out</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>"""


def _rows(graph: Imports) -> list[list[str]]:
    """Return the rooms by level: each room is above all that it imports."""
    level: dict[str, int] = {}
    while len(level) < len(graph):
        ready = {room for room, targets in graph.items() if room not in level and targets <= level.keys()}
        level |= {room: 1 + max((level[target] for target in graph[room]), default=-1) for room in ready}
        if not ready:
            raise ValueError(f"a cycle of imports: {cycles(graph)}")
    return [sorted(room for room in graph if level[room] == height) for height in range(max(level.values()), -1, -1)]


def _ordered(rows: list[list[str]], arrows: Imports) -> list[list[str]]:
    """Put each room near those that it imports and that import it, so that few arrows cross."""
    for _ in range(20):
        at = {room: number - (len(row) - 1) / 2 for row in rows for number, room in enumerate(row)}
        near = {
            room: [at[target] for target in arrows[room]] + [at[other] for other in arrows if room in arrows[other]]
            for room in at
        }
        rows = [sorted(row, key=lambda room: (sum(near[room]) / max(1, len(near[room])), room)) for row in rows]
    return rows


def _box(room: str, x: float, y: float) -> str:
    left, colour = x - WIDTH / 2, COLOURS.get(room.partition("/")[0], "#eeeeee")
    return (
        f'<rect x="{left:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{colour}" stroke="#777"/>'
        f'<text x="{x:g}" y="{y + 20:g}" text-anchor="middle">{escape(room)}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    y += HEIGHT
    bend = (to_y - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
    return f'<path d="{path}" fill="none" stroke="#777" marker-end="url(#tip)"/>'


# -- the table --------------------------------------------------------------------------------------------------------


def table() -> str:
    rows = [
        f"| `{room}` | {_sentence(room)} | {', '.join(sorted(targets)) or 'nothing'} |\n"
        for room, targets in imports().items()
    ]
    return "".join(["| package | what is in it | imports |\n|---|---|---|\n", *rows])


def _sentence(room: str) -> str:
    """Return the first sentence of the docstring of the package."""
    text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    first = text.partition("\n\n")[0].replace("\n", " ")
    return first.replace("|", "\\|")


def with_table(page: str) -> str:
    begin, end = re.escape(BEGIN), re.escape(END)
    return re.sub(f"(?<={begin}\n).*?(?={end})", lambda _: table(), page, flags=re.DOTALL)


if __name__ == "__main__":
    IMAGE.write_text(drawing(), encoding="utf-8")
    sys.exit(not PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8"))

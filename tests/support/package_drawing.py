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

LAYERS = ("adapters", "services", "domain")
"""Packages whose inner packages are drawn; a file directly in one belongs to a package with the layer's name."""
COLOURS = {"adapters": "#fde8cf", "services": "#d9ead3", "domain": "#d6e4f5"}

Imports = Mapping[str, frozenset[str]]

WIDTH, HEIGHT, GAP, STEP, MARGIN = 138, 30, 18, 88, 14


@cache
def imports() -> Imports:
    """Return the packages that each package imports, without files directly in imgsvc (errors, logs, bootstrap)."""
    return _imports(with_loose_files=False)


@cache
def all_imports() -> Imports:
    """Return the imports of each package and of each file directly in imgsvc."""
    return _imports(with_loose_files=True)


def _imports(*, with_loose_files: bool) -> Imports:
    graph = grimp.build_graph("imgsvc")
    packages: dict[str, set[str]] = {}
    for module in graph.modules:
        package = package_of(module)
        if package is None or not (with_loose_files or _is_package(package)):
            continue
        targets = {package_of(target) for target in graph.find_modules_directly_imported_by(module)}
        wanted = {target for target in targets if target and (with_loose_files or _is_package(target))}
        packages.setdefault(package, set()).update(wanted - {package})
    empty = {layer for layer in LAYERS if not any(path.stem != "__init__" for path in (SOURCE / layer).glob("*.py"))}
    return {
        package: frozenset(targets - empty) for package, targets in sorted(packages.items()) if package not in empty
    }


def package_of(module: str) -> str | None:
    """Return the package of a module, such as `services/intake`; None for imgsvc itself."""
    _, *parts = module.split(".")
    if not parts:
        return None
    depth = 2 if parts[0] in LAYERS and len(parts) > 1 and _is_package("/".join(parts[:2])) else 1
    return "/".join(parts[:depth])


def _is_package(package: str) -> bool:
    return (SOURCE / package).is_dir()


def cycles(graph: Imports) -> list[str]:
    """Return the packages that import themselves through others."""
    return [package for package in graph if package in _reached(graph, package)]


def _reached(graph: Imports, package: str) -> set[str]:
    """Return all packages that `package` imports, directly or through others."""
    found: set[str] = set()
    waiting = list(graph[package])
    while waiting:
        if (target := waiting.pop()) not in found:
            found.add(target)
            waiting += graph[target]
    return found


def reduced(graph: Imports) -> Imports:
    """Return `graph` without the imports that other imports imply."""
    return {
        package: frozenset(t for t in targets if not any(t in _reached(graph, other) for other in targets - {t}))
        for package, targets in graph.items()
    }


# -- the image --------------------------------------------------------------------------------------------------------


def drawing() -> str:
    graph = imports()
    arrows = reduced(graph)
    rows = _ordered(_rows(graph), arrows)
    width = 2 * MARGIN + max(len(row) for row in rows) * (WIDTH + GAP) - GAP
    place = {
        package: (width / 2 + (number - (len(row) - 1) / 2) * (WIDTH + GAP), MARGIN + level * STEP)
        for level, row in enumerate(rows)
        for number, package in enumerate(row)
    }
    lines = [_arrow(place[package], place[target]) for package in arrows for target in sorted(arrows[package])]
    boxes = [_box(package, *place[package]) for package in place]
    height = 2 * MARGIN + (len(rows) - 1) * STEP + HEIGHT
    return "\n".join([_HEAD.format(width=width, height=height), *lines, *boxes, "</svg>", ""])


_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<title>The packages of imgsvc and their imports; arrows that other arrows imply are left out</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>"""


def _rows(graph: Imports) -> list[list[str]]:
    """Return the packages by level: each package is above all that it imports."""
    level: dict[str, int] = {}
    while len(level) < len(graph):
        ready = {package for package, targets in graph.items() if package not in level and targets <= level.keys()}
        level |= {package: 1 + max((level[target] for target in graph[package]), default=-1) for package in ready}
        if not ready:
            raise ValueError(f"a cycle of imports: {cycles(graph)}")
    return [
        sorted(package for package in graph if level[package] == height)
        for height in range(max(level.values()), -1, -1)
    ]


def _ordered(rows: list[list[str]], arrows: Imports) -> list[list[str]]:
    """Put each package near those that it imports and that import it, so that few arrows cross."""
    for _ in range(20):
        at = {package: number - (len(row) - 1) / 2 for row in rows for number, package in enumerate(row)}
        near = {
            package: [at[target] for target in arrows[package]]
            + [at[other] for other in arrows if package in arrows[other]]
            for package in at
        }
        rows = [
            sorted(row, key=lambda package: (sum(near[package]) / max(1, len(near[package])), package)) for row in rows
        ]
    return rows


def _box(package: str, x: float, y: float) -> str:
    left, colour = x - WIDTH / 2, COLOURS.get(package.partition("/")[0], "#eeeeee")
    return (
        f'<rect x="{left:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{colour}" stroke="#777"/>'
        f'<text x="{x:g}" y="{y + 20:g}" text-anchor="middle">{escape(package)}</text>'
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
        f"| `{package}` | {_sentence(package)} | {', '.join(sorted(targets)) or 'nothing'} |\n"
        for package, targets in imports().items()
    ]
    return "".join(["| package | what is in it | imports |\n|---|---|---|\n", *rows])


def _sentence(package: str) -> str:
    """Return the first sentence of the docstring of the package."""
    text = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    first = text.partition("\n\n")[0].replace("\n", " ")
    return first.replace("|", "\\|")


def with_table(page: str) -> str:
    begin, end = re.escape(BEGIN), re.escape(END)
    return re.sub(f"(?<={begin}\n).*?(?={end})", lambda _: table(), page, flags=re.DOTALL)


if __name__ == "__main__":
    IMAGE.write_text(drawing(), encoding="utf-8")
    sys.exit(not PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8"))

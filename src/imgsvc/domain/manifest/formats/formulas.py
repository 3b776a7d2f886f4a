"""Finds cells that calamine returns as empty: errors such as `#N/A`, and formulas without a stored result."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from posixpath import join, normpath

from imgsvc.domain.manifest.formats.container import Container

_MAX_INDEX = 4 * 2**20
"""Bytes of the parts that list the sheets."""
_MAX_PIECE = 8 * 2**20
"""Bytes of a row; a longer one is not searched."""
_MAX_CELLS = 1_000_000
"""Special cells of a sheet; further ones are empty."""
_CELL_END = re.compile(rb"</(?:\w+:)?c>")
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_VALUE = re.compile(rb"<(?:\w+:)?v(?:\s[^>]*)?(?:/>|>([^<]*)<)")
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})([0-9]{1,7})["']""")
_TYPE = re.compile(rb"""\st\s*=\s*["'](\w+)["']""")
_TAG = re.compile(rb"<(?:\w+:)?(?:sheet|Relationship)\s[^>]*>")
_ATTRIBUTE = re.compile(rb"""([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ODS_TAG = re.compile(rb"<table:table\s[^>]*>|<table:table-cell(?=\s)[^>]*\stable:formula=[^>]*>")


@dataclass(slots=True)
class SpecialCells:
    """Cells by row and column (from 1 and 0): the text of an error, or None for a formula without a result.

    `unplaced` is the number of formulas without a result whose place is unknown.
    """

    cells: list[tuple[int, int, str | None]] = field(default_factory=list)
    unplaced: int = 0

    def by_row(self) -> dict[int, list[tuple[int, str | None]]]:
        rows = defaultdict(list)
        for row, column, error in self.cells:
            rows[row].append((column, error))
        return rows


def xlsx_special_cells(container: Container, sheet: str) -> SpecialCells:
    """Search the part of `sheet`; if it cannot be found, nothing is special."""
    found = SpecialCells()
    part = _sheet_part(container, sheet)
    for piece in _pieces(container, part, end=b"row>") if part else ():
        if _FORMULA.search(piece) or b'"e"' in piece or b"'e'" in piece:
            found.cells += _special_cells(piece)
        if len(found.cells) > _MAX_CELLS:
            break
    return found


def _special_cells(piece: bytes) -> Iterator[tuple[int, int, str | None]]:
    *parts, _ = _CELL_END.split(piece)
    for part in parts:
        start = max(part.rfind(b"<c "), part.rfind(b":c "))
        attributes, _, content = part[start:].partition(b">")
        kind, value = _TYPE.search(attributes), _VALUE.search(content)
        kind_name = kind[1] if kind else b""
        reference = _REFERENCE.search(attributes)
        if start < 0 or reference is None:
            continue
        if kind_name == b"e":
            if value and value[1]:
                yield *_position(reference), unescape(value[1].decode(errors="replace"))
        elif _FORMULA.search(content) and not (value and value[1]) and not (value and kind_name == b"str"):
            yield *_position(reference), None


def _position(reference: "re.Match[bytes]") -> tuple[int, int]:
    column = 0
    for letter in reference[1]:
        column = column * 26 + letter - ord("A") + 1
    return int(reference[2]), column - 1


def _pieces(container: Container, part: str, *, end: bytes) -> Iterator[bytes]:
    """Yield a part in pieces, each cut after the last `end` in it."""
    rest = b""
    for chunk in container.chunks(part):
        piece = rest + chunk
        cut = piece.rfind(end) + len(end)
        if cut < len(end):
            rest = piece if len(piece) < _MAX_PIECE else b""
        else:
            rest = piece[cut:]
            yield piece[:cut]
    yield rest


def _sheet_part(container: Container, sheet: str) -> str | None:
    """Return the name of the member with the cells of `sheet`."""
    ids = {
        attributes.get(b"name", b""): next((value for name, value in attributes.items() if name.endswith(b":id")), b"")
        for attributes in _tags(container, "xl/workbook.xml")
    }
    targets = {each.get(b"Id"): each.get(b"Target") for each in _tags(container, "xl/_rels/workbook.xml.rels")}
    names = {unescape(name.decode(errors="replace")): sheet_id for name, sheet_id in ids.items()}
    target = targets.get(names.get(sheet, b""))
    if target is None:
        return None
    path = unescape(target.decode(errors="replace"))
    part = path.lstrip("/") if path.startswith("/") else normpath(join("xl", path))
    return part if part in container.members else None


def _tags(container: Container, part: str) -> Iterator[dict[bytes, bytes]]:
    if part in container.members:
        for tag in _TAG.findall(container.read(part, max_bytes=_MAX_INDEX)):
            yield {name: double or single for name, double, single in _ATTRIBUTE.findall(tag)}


def ods_formulas(container: Container, sheet: str) -> SpecialCells:
    """Count the formulas of `sheet` that have no value; an OpenDocument cell does not contain its place."""
    found, here = SpecialCells(), False
    for piece in _pieces(container, "content.xml", end=b">") if "content.xml" in container.members else ():
        for tag in _ODS_TAG.findall(piece):
            if tag.startswith(b"<table:table "):
                names = {name: double or single for name, double, single in _ATTRIBUTE.findall(tag)}
                here = unescape(names.get(b"table:name", b"").decode(errors="replace")) == sheet
            elif here and b"value-type=" not in tag:
                found.unplaced += 1
    return found

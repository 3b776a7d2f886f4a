"""The header of an upload: finds its line, its delimiter, and the columns."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from imgsvc.domain.manifest.columns import ROLES, ColumnLayout, Columns
from imgsvc.domain.manifest.presets import BASIC, Preset, find_preset, normal, preset_columns
from imgsvc.domain.manifest.records import MAX_VALUE, Table, records, refused
from imgsvc.domain.manifest.urls import starts_with_url
from imgsvc.errors import InvalidManifest, Problem, Refusal

MAX_LINES_BEFORE = 10
"""Records before the header that a preset's template may have."""


class _Match(NamedTuple):
    """A record that may be the header, split by one delimiter.

    `found` has the candidate columns of each role, ideally one; `missing` the roles and headers without any.
    """

    delimiter: str
    line: int
    cells: list[str]
    found: dict[str, list[int]]
    missing: list[tuple[str, str]]
    preset: Preset | None = None
    is_template: bool = False

    def score(self) -> tuple[bool, int, int]:
        return self.preset is not None, sum(map(bool, self.found.values())), len(self.cells)


def find_layout(source: Table, columns: Columns | None) -> ColumnLayout:
    """Read the header with the delimiter that yields the most known columns.

    The columns are those of `columns` or else of a preset or else those with usual names. The header is the first
    record, unless a preset matches one a few lines below.

    Raises:
        InvalidManifest: `empty_file`, `no_header`, `missing_column`, `duplicate_column`, and those of `records`.
        LimitExceeded: the header is too large.
    """
    tables, failures = [], []
    for delimiter in source.delimiters:
        try:
            tables.append((delimiter, _first_records(source, delimiter)))
        except InvalidManifest as exc:  # with another delimiter the quotes may pair up
            failures.append(exc)
    matches = [_match(delimiter, *first[0], columns) for delimiter, first in tables]
    best = max(matches, key=_Match.score, default=None)
    if columns is None and (best is None or best.missing):
        matches += filter(None, (_preset_below(delimiter, first) for delimiter, first in tables))
        best = max(matches, key=_Match.score, default=None)
    if best is None or (failures and not any(best.found.values())):
        raise failures[0]
    problems = list(_header_problems(best))
    if problems:
        raise refused(problems, unit=source.unit)
    return _layout(best, columns)


def _layout(match: _Match, columns: Columns | None) -> ColumnLayout:
    found, preset = match.found, match.preset
    serial, name, images = found.get("serial_number"), found["product_name"][0], tuple(found["image_urls"])
    layout = ColumnLayout(match.delimiter, match.cells, serial[0] if serial else None, name, images, match.line)
    if preset:
        layout = layout._replace(is_template=match.is_template)
        return layout._replace(preset=preset.name, spans_rows=preset.spans_rows, keeps_text=preset.keeps_text)
    return layout._replace(preset=None if columns else BASIC)


def _first_records(source: Table, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first records, at least one; errors after the first are left to who reads them all."""
    rows = records(source, delimiter)
    first = [next(rows, (1, []))]
    with suppress(Refusal):
        first += islice(rows, MAX_LINES_BEFORE)
    return first


def _match(delimiter: str, line: int, cells: list[str], columns: Columns | None) -> _Match:
    if columns is None:
        names = [normal(cell) for cell in cells]
        found = {name: _first_match(names, role.aliases.split()) for name, role in ROLES.items()}
        missing = [(role, ROLES[role].examples) for role, matches in found.items() if not matches]
        basic = _Match(delimiter, line, cells, found, missing)
        preset = find_preset(cells)
        return _preset_match(basic, preset) if preset else basic
    named = [("serial_number", columns.serial_number), ("product_name", columns.product_name)]
    named += [("image_urls", header) for header in columns.image_headers]
    found, missing = {}, []
    for role, header in named:
        if header is not None:
            matches = _exact_match(cells, header) or _first_match([normal(cell) for cell in cells], [normal(header)])
            found[role] = sorted({*found.get(role, ()), *matches})
            if not matches:
                missing.append((role, f"`{header}`"))
    return _Match(delimiter, line, cells, found, missing)


def _preset_match(basic: _Match, preset: Preset) -> _Match:
    """Return the match of a preset for the header of a basic one, whose serial number and name stay if all is found."""
    serial, name, images = preset_columns(preset, basic.cells)
    found = {"serial_number": [] if serial is None else [serial], "product_name": [name]}
    if not basic.missing:
        found = {role: basic.found[role][:1] for role in found}
    return basic._replace(found={**found, "image_urls": list(images)}, missing=[], preset=preset)


def _preset_below(delimiter: str, first: Sequence[tuple[int, list[str]]]) -> _Match | None:
    """Return the record below the first that a preset matches; the last if several follow each other as in Amazon's."""
    found = None
    for line, cells in first[1:]:
        match = _match(delimiter, line, cells, None)
        if match.preset:
            found = match._replace(is_template=True)
        elif found:
            break
    return found


def _exact_match(header: Sequence[str], name: str) -> list[int]:
    return [index for index, cell in enumerate(header) if cell.strip() == name]


def _first_match(names: Sequence[str], aliases: Sequence[str]) -> list[int]:
    best = next((alias for alias in aliases if alias in names), None)
    return [index for index, name in enumerate(names) if name == best]


def _header_problems(match: _Match) -> Iterator[Problem]:
    if not match.cells:
        yield Problem("empty_file", "The file is empty.")
    elif not any(match.found.values()) and any(map(starts_with_url, match.cells)):
        detail = "The first row contains data. Add a header row with the names of the columns."
        yield Problem("no_header", detail, match.line)
    else:
        for role in ROLES:
            for expected in (header for missed, header in match.missing if missed == role):
                yield _missing(match, role, expected)
            if len(matches := match.found.get(role, [])) > 1 and role != "image_urls":
                name = match.cells[matches[0]][:MAX_VALUE]
                detail = f"{len(matches)} columns named `{name}` could hold {ROLES[role].meaning}. Rename all but one."
                yield Problem("duplicate_column", detail, match.line, name)


def _missing(match: _Match, role: str, expected: str) -> Problem:
    found = ", ".join(f"`{cell}`" for cell in match.cells)[:MAX_VALUE]
    detail = f"There is no column for {ROLES[role].meaning}: expected {expected}, found {found}."
    hint = "Rename the column, or name it in the upload field `columns`."
    return Problem("missing_column", f"{detail} {hint}", match.line, role, found)

"""JSON Lines: one object per line, whose members are the cells; lists and objects are cells in JSON."""

import codecs
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.items import ItemRows
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.records import MAX_PROBLEMS, MAX_RECORD_CHARS, over_limit, refused
from imgsvc.domain.manifest.rows_file import RowsWriter
from imgsvc.domain.manifest.urls import split_cell
from imgsvc.errors import Problem


class _Literal(str):
    """A number as written: `9.90` stays `9.90`."""

    __slots__ = ()


def read_json_lines(data: bytes, out: RowsWriter) -> FileFormat:
    """Write each object as a row.

    Raises:
        InvalidManifest: `invalid_json`; lists the first hundred lines that are not an object.
    """
    out.unit = "line"
    reader = _Reader(out)
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), 1):
        if line.strip():
            reader.add(number, line)
        else:
            out.skip(1)
    return reader.finish()


class _Reader:
    """Collects objects as rows, and the columns by the kinds of their values."""

    def __init__(self, out: RowsWriter) -> None:
        self._rows = ItemRows(out)
        self._values, self._json_texts = set[int](), set[int]()
        self._lists, self._scalars = set[int](), set[int]()
        self._problems, self._total = list[Problem](), 0

    def add(self, number: int, line: bytes) -> None:
        if len(line) > 4 * MAX_RECORD_CHARS:
            raise over_limit(f"Line {number} is too large: at most {MAX_RECORD_CHARS:,} characters are allowed.")
        try:
            item = json.loads(line, parse_float=_Literal, parse_int=_Literal, parse_constant=_refuse_constant)
        except ValueError as exc:
            self._refuse(number, f": {str(exc)[:200]}")
        except RecursionError:
            self._refuse(number, ": it is nested too deeply")
        else:
            if isinstance(item, dict):
                self._rows.add(number, {self._rows.column(name): self._cell(name, item[name]) for name in item})
            else:
                self._refuse(number, "")

    def _refuse(self, number: int, reason: str) -> None:
        self._total += 1
        if self._total <= MAX_PROBLEMS:
            self._problems.append(Problem("invalid_json", f"The line is not a JSON object{reason}.", number))

    def _cell(self, name: str, value: object) -> str | None:
        column = self._rows.column(name)
        if type(value) is str:
            self._scalars.add(column)
            if _parsed(value) is not _NOT_JSON:
                self._json_texts.add(column)
        elif value is not None:
            self._values.add(column)
            (self._lists if isinstance(value, list) else self._scalars).add(column)
        return _text(value)

    def finish(self) -> FileFormat:
        if self._problems:
            raise refused(self._problems, self._total)
        if self._rows.count:
            self._rows.finish(1)
        nulls, blanks = self._rows.empty_columns()
        return FileFormat(
            format="jsonl",
            json_values=tuple(sorted(self._values - self._json_texts)),
            lists=tuple(sorted(self._lists - self._scalars)),
            nulls=nulls,
            blanks=blanks,
        )


_NOT_JSON = object()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _dump(value)


def _dump(value: object) -> str:
    """Return JSON in which numbers are as they were written."""
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_dump, value))}]"
    if isinstance(value, dict):
        members = (f"{json.dumps(name, ensure_ascii=False)}: {_dump(each)}" for name, each in value.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value, ensure_ascii=False)


def _parsed(text: str) -> object:
    """Return the value of a text that is JSON other than a string or null."""
    if text[:1] in "-0123456789[{tf" and text:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _NOT_JSON
    return _NOT_JSON


class JsonLinesWriter:
    """Writes rows as objects: values, lists and nulls as they were uploaded."""

    def __init__(self, shape: ReportShape) -> None:
        self._names = [json.dumps(name, ensure_ascii=False) for name in shape.header]
        file_format = shape.file_format
        self._values, self._lists = set(file_format.json_values), set(file_format.lists)
        self._nulls, self._blanks = set(file_format.nulls), set(file_format.blanks)
        if self._lists:
            self._lists |= {column for column in shape.link_columns if column >= shape.uploaded}
        self._added = {column for column in shape.link_columns if column >= shape.uploaded}

    def begin(self) -> str:
        return ""

    def rows(self, rows: Iterable[Sequence[str]]) -> str:
        return "".join(f"{{{', '.join(self._members(row))}}}\n" for row in rows)

    def end(self) -> str:
        return ""

    def _members(self, row: Sequence[str]) -> Iterable[str]:
        for column, (name, cell) in enumerate(zip(self._names, row, strict=False)):
            if cell or column in self._blanks or column in self._added:
                yield f"{name}: {self._value(column, cell)}"
            elif column in self._nulls:
                yield f"{name}: null"

    def _value(self, column: int, cell: str) -> str:
        if column in self._added and column in self._lists:
            entries: list[Any] = [url or None for url in cell.split(",")] if cell else []
            return json.dumps(entries, ensure_ascii=False)
        if column in self._values and _parsed(cell) is not _NOT_JSON:
            return cell
        if column in self._lists:
            return json.dumps(split_cell(cell), ensure_ascii=False)
        return json.dumps(cell, ensure_ascii=False)

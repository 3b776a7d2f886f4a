"""Writes XML feeds: the text around the items as uploaded, and each row as an item."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from imgsvc.domain.manifest.formats.feed_xml import GOOGLE, xml_attribute, xml_text
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.urls import split_cell, starts_with_url

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_HEAD = f'<rss version="2.0" xmlns:g="{GOOGLE}"><channel><title>Products</title><link/><description/>'
_TAIL = "</channel></rss>"
_NOT_IN_NAMES = re.compile(r"[^\w-]+")


class FeedWriter:
    """Writes rows as the items of a feed; a batch of another format becomes RSS with `g:` elements."""

    def __init__(self, shape: ReportShape) -> None:
        facts = shape.file_format
        is_feed = bool(facts.head)
        self._head, self._tail = (facts.head, facts.tail) if is_feed else (_HEAD, _TAIL)
        self._item = facts.item
        known = facts.elements if is_feed else ()
        self._elements = [*known, *(_element_name(name) for name in shape.header[len(known) :])]
        self._known = len(known)
        """The columns before this one were read from a feed, where a cell can be a list or XML (see `read_feed`)."""
        self._lists = {*facts.lists, *shape.link_columns}
        self._blanks = set(facts.blanks)

    def begin(self) -> str:
        return f"{_DECLARATION}{self._head}\n"

    def rows(self, rows: Iterable[Sequence[str]]) -> str:
        return "".join(map(self._item_text, rows))

    def end(self) -> str:
        return f"{self._tail}\n"

    def _item_text(self, row: Sequence[str]) -> str:
        attributes, values = "", []
        for column, (element, cell) in enumerate(zip(self._elements, row, strict=False)):
            if element.startswith("@"):
                attributes += f" {element[1:]}={xml_attribute(cell)}" if cell else ""
            elif cell or column in self._blanks:
                values += [self._value(column, element, value) for value in self._values(column, cell)]
        return f"<{self._item}{attributes}>\n{''.join(values)}</{self._item}>\n"

    def _values(self, column: int, cell: str) -> Iterator[str]:
        if column < self._known and cell.startswith("["):
            try:
                values = json.loads(cell)
            except (ValueError, RecursionError):
                values = None
            if isinstance(values, list) and all(isinstance(value, str) for value in values):
                yield from values
                return
        if column in self._lists and all(map(starts_with_url, pieces := split_cell(cell))):
            yield from pieces
        else:
            yield cell

    def _value(self, column: int, element: str, value: str) -> str:
        if column < self._known and value.startswith(f"<{element}"):
            return f"{value}\n"
        return f"<{element}>{xml_text(value)}</{element}>\n"


def _element_name(header: str) -> str:
    name = _NOT_IN_NAMES.sub("_", header.strip().lower()).strip("_")
    return f"g:{name}" if name and (name[0].isalpha() or name[0] == "_") else f"g:_{name}"

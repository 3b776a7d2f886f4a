"""Reads XML feeds (RSS 2.0 and Atom, with the `g:` elements of Google Merchant Center): an item is a row.

A cell is the text of an element; an element with attributes or children is a cell in XML, a repeated one a JSON list.
"""

import json
from collections.abc import Mapping
from typing import Any
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.feed_xml import (
    GOOGLE,
    ITEMS,
    UNKNOWN,
    check_root,
    is_json_list,
    local_name,
    start_tag,
)
from imgsvc.domain.manifest.formats.items import ItemRows
from imgsvc.domain.manifest.records import over_limit, refused
from imgsvc.domain.manifest.rows_file import RowsWriter
from imgsvc.errors import InvalidManifest, Problem

_CHUNK = 2**16
_MAX_DEPTH = 50
_MAX_HEAD = 2**17
"""Characters of a feed outside of its items."""


def read_feed(data: bytes, out: RowsWriter) -> FileFormat:
    """Write each item as a row.

    Raises:
        InvalidManifest: `unsafe_xml`, `invalid_xml`, `unknown_xml`.
    """
    out.unit = "item"
    handler = _FeedHandler(ItemRows(out))
    parser = DefusedExpatParser(forbid_dtd=True, forbid_entities=True, forbid_external=True)
    parser.setContentHandler(handler)
    try:
        for start in range(0, len(data), _CHUNK):
            parser.feed(data[start : start + _CHUNK])
        parser.close()
    except DefusedXmlException as exc:
        detail = "The XML has a document type or entities, which are refused. Remove the <!DOCTYPE …> declaration."
        raise refused([Problem("unsafe_xml", detail)]) from exc
    except SAXParseException as exc:
        raise _invalid(exc.getMessage(), exc.getLineNumber()) from exc
    except (SAXException, ValueError, LookupError) as exc:  # ValueError, LookupError: an unknown encoding
        raise _invalid(str(exc)) from exc
    return handler.finish()


def _invalid(reason: str, line: int | None = None) -> InvalidManifest:
    return refused([Problem("invalid_xml", f"The XML is not well-formed: {reason[:200]}.", line)])


class _FeedHandler(ContentHandler):
    """Collects the elements of each item as XML and text, and everything else as head and tail."""

    def __init__(self, rows: ItemRows) -> None:
        super().__init__()
        self._rows = rows
        self._path: list[str] = []
        self._outside: list[str] = []
        self._outside_size = 0
        self._head: str | None = None
        self._item_tag = ""
        self._item_depth = 0
        self._item: dict[str, list[str]] = {}
        self._inner: list[str] = []
        """The XML of the current element of an item."""
        self._text: list[str] = []
        self._is_plain = True
        self._prefixes: dict[str, str] = {}
        self._lists: set[str] = set()

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802  # SAX's name
        attributes = dict(attrs.items())
        if len(self._path) >= _MAX_DEPTH:
            raise over_limit(f"The elements of the XML are nested more than {_MAX_DEPTH} deep.")
        if self._item_depth:
            self._start_in_item(name, attributes)
        elif self._is_item(name):
            self._item_tag, self._item_depth = name, len(self._path) + 1
            self._head = self._head if self._head is not None else self._taken()
            self._item = {f"@{key}": [value] for key, value in attributes.items()}
        else:
            if not self._path:
                check_root(name)
            self._declare(attributes)
            self._add_outside(start_tag(name, attributes))
        self._path.append(name)

    def endElement(self, name: str) -> None:  # noqa: N802
        self._path.pop()
        depth = len(self._path) + 1
        if not self._item_depth:
            self._add_outside(f"</{name}>")
        elif depth == self._item_depth:
            self._end_item()
        else:
            self._inner.append(f"</{name}>")
            if depth == self._item_depth + 1:
                self._end_value(name)

    def characters(self, content: str) -> None:
        if not self._item_depth:
            self._add_outside(escape(content))
        elif len(self._path) > self._item_depth:
            self._inner.append(escape(content))
            self._text.append(content)

    def _is_item(self, name: str) -> bool:
        return bool(self._path) and local_name(self._path[-1]) in ITEMS.get(local_name(name), ())

    def _start_in_item(self, name: str, attributes: Mapping[str, str]) -> None:
        if len(self._path) == self._item_depth:
            self._inner, self._text, self._is_plain = [], [], not attributes
        else:
            self._is_plain = False
        self._inner.append(start_tag(name, attributes))

    def _end_value(self, name: str) -> None:
        text = "".join(self._text)
        xml = "".join(self._inner)
        # Text that looks like the XML of its element would be taken for it when the report is written.
        self._item.setdefault(name, []).append(text if self._is_plain and not text.startswith(f"<{name}") else xml)

    def _end_item(self) -> None:
        cells = dict[int, str | None]()
        for name, values in self._item.items():
            column = self._rows.column(name)
            is_list = len(values) > 1
            if is_list:
                self._lists.add(name)
            cells[column] = json.dumps(values, ensure_ascii=False) if is_list or is_json_list(values[0]) else values[0]
        self._rows.add(self._rows.count + 1, cells)
        self._item_depth, self._item = 0, {}

    def _declare(self, attributes: Mapping[str, str]) -> None:
        for key, value in attributes.items():
            prefix, _, name = key.partition(":")
            if prefix == "xmlns" and name:
                self._prefixes[name] = value

    def _add_outside(self, text: str) -> None:
        self._outside_size += len(text)
        if self._outside_size > _MAX_HEAD:
            if self._head is None:
                raise refused([Problem("unknown_xml", UNKNOWN)])
            raise over_limit(f"The XML has more than {_MAX_HEAD:,} characters outside of its items.")
        self._outside.append(text)

    def _taken(self) -> str:
        text, self._outside = "".join(self._outside), []
        return text

    def finish(self) -> FileFormat:
        """Set the header, and return the facts about the feed."""
        if self._head is None:
            raise refused([Problem("unknown_xml", UNKNOWN)])
        rows = self._rows
        elements = list(rows.columns)
        rows.columns = {name: index for index, name in enumerate(self._column_names(elements))}
        rows.finish(1)
        _, blanks = rows.empty_columns()
        return FileFormat(
            format="xml",
            elements=tuple(elements),
            lists=tuple(sorted(elements.index(name) for name in self._lists)),
            blanks=blanks,
            item=self._item_tag,
            head=self._head.rstrip(),
            tail=self._taken().strip(),
        )

    def _column_names(self, elements: list[str]) -> list[str]:
        """Return `image_link` for `g:image_link`, unless the feed also has `image_link` without the prefix."""
        names = []
        for element in elements:
            prefix, _, local = element.rpartition(":")
            is_google = self._prefixes.get(prefix) == GOOGLE
            names.append(local if is_google and local not in elements and local not in names else element)
        return names

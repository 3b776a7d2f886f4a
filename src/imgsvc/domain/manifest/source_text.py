"""Keeps how an uploaded CSV is written, so that its output can be written in the same way."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.file_format import Quoting
from imgsvc.domain.manifest.model import Manifest
from imgsvc.domain.manifest.records import Source

_SAMPLE = 100
"""Rows that decide which cells are quoted."""
_HABITS: tuple[Quoting, ...] = ("minimal", "blanks", "all")


def keep_text(manifest: Manifest, source: Source, *, header_line: int, lines: Sequence[int]) -> Manifest:
    """Return `manifest` with the facts about the text of its file; `lines` are those on which the products begin.

    The text of a row is kept if it is not what rendering its cells returns; most exports are so regular that few rows
    need it.
    """
    starts = [header_line, *lines]
    before, header_text, *sample = islice(_texts(source, starts), 2 + _SAMPLE)
    style: dict[str, Any] = {"delimiter": manifest.delimiter, "line_end": _line_end(header_text)}

    def is_regular(cells: Sequence[str], text: str) -> bool:
        padding = [""] * (len(manifest.header) - len(cells))
        return render_rows([[*cells, *padding]], **style) == text

    def count_regular(quoting: Quoting) -> int:
        style["quoting"] = quoting
        return sum(is_regular(product.cells, text) for product, text in zip(manifest.products, sample, strict=False))

    style["quoting"] = max(_HABITS, key=count_regular)
    texts = islice(_texts(source, starts), 2, None)
    products = [
        product if is_regular(product.cells, text) else product._replace(source=text)
        for product, text in zip(manifest.products, texts, strict=True)
    ]
    file = manifest.file_format.model_copy(
        update={
            "codec": _codec(source),
            "bom": source.data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
            "line_end": style["line_end"],
            "quoting": style["quoting"],
            "before": before,
            "header_source": None if is_regular(manifest.header, header_text) else header_text,
        }
    )
    return replace(manifest, products=products, file_format=file)


def lines_before(source: Source, header_line: int) -> str:
    """Return the text above the header."""
    return next(_texts(source, [header_line]))


def _texts(source: Source, starts: Sequence[int]) -> Iterator[str]:
    """Yield the text before the first of the lines `starts`, then from each to the next, at last to the end."""
    part: list[str] = []
    following = iter(starts)
    start = next(following, None)
    for number, line in enumerate(source.lines(), 1):
        if number == start:
            yield "".join(part)
            part, start = [], next(following, None)
        part.append(line)
    yield "".join(part)


def _line_end(text: str) -> str:
    """Return the line end of a row; CRLF if it has none."""
    first = text.rstrip("\r\n")
    return next((end for end in ("\r\n", "\n", "\r") if text.startswith(end, len(first))), "\r\n")


def _codec(source: Source) -> str:
    if source.encoding == "utf-16":
        return "utf-16-be" if source.data.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    return source.encoding.removesuffix("-sig")

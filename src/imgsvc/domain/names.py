"""Names of images, from a template such as `{name}-{n}`: safe in URLs and on every file system."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import unquote

from anyascii import anyascii

from imgsvc.domain.manifest.model import Manifest, ManifestProduct
from imgsvc.domain.manifest.records import MAX_VALUE, refused
from imgsvc.errors import Problem

DEFAULT_NAMES = "{name}-{n}"
MAX_NAME = 80
_MAX_PART = 60
"""Characters of a placeholder's value: what follows a long product name remains."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OTHER = re.compile(r"[^a-z0-9]+")
_MAX_TEXT = 500
"""Characters of a cell that are looked at; a description can have thousands."""


@lru_cache(maxsize=1_000)
def slug(text: str, *, limit: int = _MAX_PART) -> str:
    """Reduce `text` to ASCII letters, digits and single dashes; letters of other scripts are transliterated."""
    text = text[:_MAX_TEXT]
    plain = text if text.isascii() else anyascii(text)
    return _OTHER.sub("-", plain.lower()).strip("-")[:limit].strip("-")


class Slot(NamedTuple):
    """An image of a product: its number there, from 1, and its URL."""

    product: ManifestProduct
    number: int
    url: str


class ImageNames:
    """The names of the images of a manifest. Images of the same name differ in the digest that follows it."""

    def __init__(self, template: str | None, manifest: Manifest) -> None:
        """Read the template (None: the default).

        Raises:
            InvalidManifest: a placeholder is neither known nor a column of the manifest.
        """
        pieces = _PLACEHOLDER.split(template or DEFAULT_NAMES)
        self._parts = list(_parts(pieces, manifest))

    def of(self, slot: Slot) -> str:
        """Return the name of an image; never empty."""
        text = "".join(part if isinstance(part, str) else slug(part(slot)) for part in self._parts)
        return slug(text, limit=MAX_NAME) or slug(slot.product.serial_number) or "image"


def _parts(pieces: list[str], manifest: Manifest) -> Iterator[str | Callable[[Slot], str]]:
    """Yield the literal texts and the placeholders of a template, of which `pieces` has one each in turn."""
    problems = []
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            yield piece
        elif value := _placeholder(piece.strip(), manifest):
            yield value
        else:
            problems.append(_unknown(piece, manifest))
    if problems:
        raise refused(problems)


def _placeholder(name: str, manifest: Manifest) -> Callable[[Slot], str] | None:
    """Return the value of a placeholder: a known one, or a column; a known one comes first."""
    if known := _KNOWN.get(name.lower()):
        return known
    if name.lower() == _COLUMN:
        return partial(_column, manifest)
    column = next((at for at, cell in enumerate(manifest.header) if cell.strip().lower() == name.lower()), None)
    if not name or column is None:
        return None
    return lambda slot: slot.product.cells[column] if column < len(slot.product.cells) else ""


def _column(manifest: Manifest, slot: Slot) -> str:
    """Return the header of the image column that has the URL."""
    counts = slot.product.slot_counts or (len(slot.product.slots),)
    ends = zip(manifest.file_format.url_columns, accumulate(counts), strict=True)
    return next(manifest.header[column] for column, end in ends if slot.number <= end)


def _product_name(slot: Slot) -> str:
    return slot.product.product_name if slug(slot.product.product_name) else slot.product.serial_number


def _original(slot: Slot) -> str:
    """Return the file name in a URL, without its extension."""
    path = re.split("[?#]", slot.url, maxsplit=1)[0].rstrip("/")
    name = unquote(path.rpartition("/")[2])
    return name.rpartition(".")[0] or name


_COLUMN = "column"
_KNOWN: dict[str, Callable[[Slot], str]] = {
    "name": _product_name,
    "sku": lambda slot: slot.product.serial_number,
    "n": lambda slot: str(slot.number),
    "original": _original,
}


def _unknown(name: str, manifest: Manifest) -> Problem:
    known = ", ".join(
        f"`{{{each}}}`" for each in (*_KNOWN, _COLUMN, *filter(None, (cell.strip() for cell in manifest.header)))
    )
    detail = f"`names` has the placeholder `{{{name[:MAX_VALUE]}}}`, which is no column of this catalogue. Use {known}."
    return Problem("unknown_placeholder", detail[:1_000], column="names", value=name[:MAX_VALUE])

"""Replaces the elements for tabs and line breaks in an OpenDocument table, which calamine drops, by the characters.

`<text:tab/>` and `<text:line-break/>` (OASIS OpenDocument 1.3, part 3, §6.1.3 and §6.1.5) are lost with python-calamine
0.9.1; several blanks (`<text:s/>`) and paragraphs are not.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator

from imgsvc.domain.manifest.formats.container import Container

_CONTENT = "content.xml"
_NEEDED = ("mimetype", "META-INF/manifest.xml")
"""The other members that calamine reads."""
_MAX_MEMBER = 2**20
_ELEMENT = re.compile(rb"<(/?)text:(tab|line-break)(?=[\s/>])[^>]*>")
_CHARACTERS = {b"tab": b"&#9;", b"line-break": b"&#10;"}
_MAX_TAG = 256
"""Bytes of an element's tag that may be in two chunks."""


def plain_blanks(container: Container) -> bytes:
    """Return the ZIP of a table, with characters in place of the elements if there are any."""
    members = container.members
    if _CONTENT not in members or not any(_ELEMENT.search(part) for part in _parts(container.chunks(_CONTENT))):
        return container.data
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in _NEEDED:
            if name in members:
                archive.writestr(name, container.read(name, max_bytes=_MAX_MEMBER))
        with archive.open(_CONTENT, "w", force_zip64=True) as content:
            for part in _parts(container.chunks(_CONTENT)):
                content.write(_ELEMENT.sub(_character, part))
    return file.getvalue()


def _character(element: "re.Match[bytes]") -> bytes:
    is_end, name = element.groups()
    return b"" if is_end else _CHARACTERS[name]


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes, cut so that no tag of an element is in two parts."""
    rest = b""
    for chunk in chunks:
        part = rest + chunk
        start = part.rfind(b"<", -_MAX_TAG)
        is_cut = start >= 0 and b">" not in part[start:]
        rest = part[start:] if is_cut else b""
        yield part[:start] if is_cut else part
    yield rest

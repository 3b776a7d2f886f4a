"""The XML of feeds: which elements are items, and the text of tags."""

import json
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from imgsvc.domain.manifest.records import refused
from imgsvc.errors import Problem

GOOGLE = "http://base.google.com/ns/1.0"
ITEMS = {"item": ("channel", "RDF"), "entry": ("feed",)}
"""The elements of items, and their possible parents."""
UNKNOWN = "The XML is not a product feed: expected RSS 2.0 (<rss><channel><item>) or Atom (<feed><entry>)."
_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return `text` for XML 1.0, without the control characters that it cannot contain."""
    return escape(_INVALID.sub("", text))


def xml_attribute(text: str) -> str:
    """Return `text` as a quoted attribute."""
    return quoteattr(_INVALID.sub("", text))


def check_root(name: str) -> None:
    if local_name(name) == "html":
        raise refused([Problem("not_a_csv", "This is a web page, not a product feed.")])
    if local_name(name) not in ("rss", "feed", "RDF"):
        raise refused([Problem("unknown_xml", f"{UNKNOWN[:-1]}, found <{name[:100]}>.")])


def local_name(name: str) -> str:
    return name.rpartition(":")[2]


def start_tag(name: str, attributes: Mapping[str, str]) -> str:
    return f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in attributes.items())}>"


def is_json_list(text: str) -> bool:
    if not text.startswith("["):
        return False
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, list) and all(isinstance(value, str) for value in values)

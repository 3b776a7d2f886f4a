"""URLs in a cell: splitting the cell, joining URLs again, and validating a URL."""

import json
import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from imgsvc.domain.manifest.model import ManifestLimits

# Zero-width characters are often copied along with a URL from a web page; here they count as blanks.
_BLANK = r"\s\u200b\ufeff"
_SEPARATOR = rf"[,;|{_BLANK}]"
# A comma alone does not split, because URLs contain commas. Each run of separators is matched once, from its start and
# without backtracking, so 100,000 blanks take no longer than 100,000 letters.
_BREAK = re.compile(
    rf"""
    {_SEPARATOR} (?<! {_SEPARATOR}{_SEPARATOR}) [,;|]*+
    (?: [{_BLANK}] {_SEPARATOR}*+ | (?= [A-Za-z][A-Za-z0-9+.\-]*+:// | // | [Ww]{{3}}\. | \Z ))
    """,
    re.VERBOSE,
)
_START = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*+://|//|[Ww]{3}\.)")

_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")
_QUOTED_LIST = re.compile(r"""\[\s*+(?:(?:"[^"]*+"|'[^']*+')\s*+(?:,\s*+|(?=\])))*+\]\s*+""")

# Both cases are spelt out: with re.IGNORECASE these take three times as long, and they are applied to every URL.
_LABEL = r"[A-Za-z0-9_\-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_HTTP = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://")
_PORT = r":[1-5]?[1-9][0-9]{0,3}"  # nearly all valid ports
_PLAIN = re.compile(rf"{_HTTP.pattern}{_HOST.pattern}(?:{_PORT})?(?:[/?#][!#-\[\]-~]*)?")
"""A fast check that accepts most valid URLs; the others are checked in detail."""
_INVALID_HOST = "The host name or the port in the URL is not valid."
_MAX_HOST = 253
_NON_ASCII_DOT = re.compile("[\u3002\uff0e\uff61]")  # RFC 3490 §3.1
_NON_ASCII = re.compile(r"[^\x00-\x7f]")


def split_cell(cell: str) -> list[str]:
    """Return the URLs in `cell` in their order, as written; text that is not a URL is a piece of its own.

    The cell is split at `,` `;` `|` or white space before `scheme://`, `//` or `www.`, and where white space follows
    such a separator, so that a URL with commas or with another URL inside stays whole. A list in JSON or Python syntax
    (`["https://…", "https://…"]`) is recognised as well. Blank pieces are dropped.
    """
    if cell.startswith("[") and _QUOTED_LIST.fullmatch(cell):
        pieces = [_unescaped(double or single) for double, single in _QUOTED.findall(cell)]
    else:
        pieces = _BREAK.split(cell)
    return [piece for piece in pieces if piece]


def url_spans(cell: str) -> list[tuple[int, int]]:
    """Return where the pieces of `split_cell` begin and end in `cell`."""
    if cell.startswith("[") and _QUOTED_LIST.fullmatch(cell):
        found = (match.span(match.lastindex or 0) for match in _QUOTED.finditer(cell))
        return [(start, end) for start, end in found if cell[start:end].strip()]
    breaks = [match.span() for match in _BREAK.finditer(cell)]
    starts, ends = [0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(cell)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def replace_urls(cell: str, urls: Sequence[str | None], *, keeps_text: bool = False) -> str:
    """Return `cell` with other `urls` in the places of its pieces (None: as it is) and the same separators.

    Text that is not a URL stays and has no entry in `urls` if `keeps_text`.

    Raises:
        ValueError: the cell has another number of pieces.
    """
    spans = [(a, b) for a, b in url_spans(cell) if not keeps_text or starts_with_url(cell[a:b])]
    parts, done = [], 0
    for (start, end), url in zip(spans, urls, strict=True):
        parts += [cell[done:start], cell[start:end] if url is None else url]
        done = end
    return "".join(parts) + cell[done:]


def _unescaped(quoted: str) -> str:
    # The escapes that JSON writers use in URLs; any other leaves a backslash, which `why_invalid` refuses.
    return quoted.replace("\\/", "/").replace("\\u0026", "&").strip()


def join_cell(urls: Sequence[str]) -> str:
    """Join `urls` to one cell that `split_cell` splits again, as a JSON list if commas are ambiguous."""
    plain = ", ".join(urls)
    if split_cell(plain) == list(urls) or any('"' in url or "\\" in url for url in urls):
        return plain
    return json.dumps(list(urls), ensure_ascii=False)


def starts_with_url(cell: str) -> bool:
    return _START.match(cell) is not None


def add_scheme(url: str) -> str:
    """Add `https` to `//host/…` and `www.…`, as the address bar of a browser does."""
    if url.startswith("//"):
        return "https:" + url
    if url[:4].lower() == "www.":
        return "https://" + url
    return url


def url_problem(url: str, limits: ManifestLimits) -> tuple[str, str] | None:
    """Return the code and the sentence of the problem with `url`, or None if it is valid."""
    if len(url) > limits.max_url_length:
        limit = f"{limits.max_url_length:,} (setting IMGSVC_MAX_URL_LENGTH)"
        return "url_too_long", f"The URL has {len(url):,} characters, more than {limit}."
    detail = why_invalid(url)
    return ("invalid_url", detail) if detail else None


def why_invalid(url: str) -> str | None:
    """Return a sentence that says why `url` cannot be fetched, or None if it is valid."""
    if _PLAIN.fullmatch(url):
        return None
    if not _HTTP.match(url):
        return "The URL must begin with http:// or https://."
    if " " in url or not url.isprintable():
        return "The URL contains white space or an invisible character."
    if '"' in url or "\\" in url:
        # Neither is ever part of a URL (RFC 3986 §2); a quotation mark indicates quotes that do not match.
        return "The URL contains a quotation mark or a backslash."
    return _why_host_invalid(url)


def _why_host_invalid(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.netloc.startswith("["):
            if "%" in parts.netloc:  # a zone is valid on one machine only, RFC 4007 §6
                return _INVALID_HOST
            IPv6Address(host)
            host = "ipv6"
    except ValueError:
        return _INVALID_HOST
    if "@" in parts.netloc:
        return "The URL contains a user name or a password. Remove them."
    if not host:
        return "The URL has no host name."
    if port == 0 or not _is_host_name(host):
        return _INVALID_HOST
    return None


def _is_host_name(host: str) -> bool:
    """Check the syntax of a name. Letters of other scripts pass: checking them by IDNA takes a millisecond per name."""
    if len(host) > _MAX_HOST:
        return False
    return _HOST.fullmatch(_NON_ASCII.sub("a", _NON_ASCII_DOT.sub(".", host))) is not None

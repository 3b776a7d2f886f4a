"""The web addresses in a cell: where one ends and the next begins, and what is wrong with one."""

import json
import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from urllib.parse import urlsplit

# Zero-width characters come along when an address is copied from a web page; here they count as blanks.
_BLANK = r"\s\u200b\ufeff"
_SEPARATOR = rf"[,;|{_BLANK}]"
# A bare comma does not split, because addresses contain commas. Each run of separators is looked at once, from its
# start and without backtracking: a cell of 100,000 blanks costs no more than one of letters.
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

# Capitals are spelt out: with re.IGNORECASE these take three times as long, and they see every URL.
_LABEL = r"[A-Za-z0-9_\-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_HTTP = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://")
_PORT = r":[1-5]?[1-9][0-9]{0,3}"  # nearly all that there are
_PLAIN = re.compile(rf"{_HTTP.pattern}{_HOST.pattern}(?:{_PORT})?(?:[/?#][!#-\[\]-~]*)?")
"""Of most addresses this says at once that nothing is wrong with them; the others are looked at more closely."""
_MAX_HOST = 253
_OTHER_STOP = re.compile("[\u3002\uff0e\uff61]")  # RFC 3490 §3.1
_OTHER_LETTER = re.compile(r"[^\x00-\x7f]")


def split_cell(cell: str) -> list[str]:
    """The addresses in `cell` in their order, as written; what is no address is a piece of its own.

    It is split at `,` `;` `|` or white space before `scheme://`, `//` or `www.`, and where white space follows such a
    separator, so that an address with commas or with another address inside stays whole. A list as JSON or Python
    writes it (`["https://…", "https://…"]`) is understood too. Blank pieces are dropped.
    """
    if cell.startswith("[") and _QUOTED_LIST.fullmatch(cell):
        pieces = [_unescaped(double or single) for double, single in _QUOTED.findall(cell)]
    else:
        pieces = _BREAK.split(cell)
    return [piece for piece in pieces if piece]


def _unescaped(quoted: str) -> str:
    # What JSON writers escape in an address; anything else leaves a backslash, which `why_invalid` refuses.
    return quoted.replace("\\/", "/").replace("\\u0026", "&").strip()


def join_cell(urls: Sequence[str]) -> str:
    """One cell that `split_cell` takes apart into `urls` again, as a JSON list where commas alone would not do."""
    plain = ", ".join(urls)
    if split_cell(plain) == list(urls) or any('"' in url or "\\" in url for url in urls):
        return plain
    return json.dumps(list(urls), ensure_ascii=False)


def starts_with_url(cell: str) -> bool:
    return _START.match(cell) is not None


def complete(url: str) -> str:
    """`//host/…` and `www.…` as a browser's address bar takes them: with https."""
    if url.startswith("//"):
        return "https:" + url
    if url[:4].lower() == "www.":
        return "https://" + url
    return url


def why_invalid(url: str) -> str | None:
    """A sentence about what keeps `url` from being fetched, or None when nothing does."""
    if _PLAIN.fullmatch(url):
        return None
    if not _HTTP.match(url):
        return "A web address begins with http:// or https://."
    if " " in url or not url.isprintable():
        return "The address has white space or an invisible character inside."
    if '"' in url or "\\" in url:
        # Neither is ever part of an address (RFC 3986 §2); a quotation mark tells of quotes that do not match.
        return "The address has a quotation mark or a backslash inside."
    return _why_server_invalid(url)


def _why_server_invalid(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.netloc.startswith("["):
            if "%" in parts.netloc:  # a zone means something on one machine only, RFC 4007 §6
                return "The server or the port in the address is not valid."
            IPv6Address(host)
            host = "ipv6"
    except ValueError:
        return "The server or the port in the address is not valid."
    if "@" in parts.netloc:
        return "An address with a user name or a password is not accepted."
    if not host:
        return "The address names no server."
    if port == 0 or not _is_host_name(host):
        return "The server or the port in the address is not valid."
    return None


def _is_host_name(host: str) -> bool:
    """Letters of other scripts are taken on trust: to look at them as IDNA does takes a millisecond for each name."""
    if len(host) > _MAX_HOST:
        return False
    return _HOST.fullmatch(_OTHER_LETTER.sub("a", _OTHER_STOP.sub(".", host))) is not None

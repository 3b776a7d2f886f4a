"""The normal form of a host: what the limits of fetches and webhooks are kept for."""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from imgsvc.domain.addresses import parse_literal

DEFAULT_PORTS = {"https": 443}
"""All other schemes: 80."""

_START = re.compile(r"[a-z]{1,8}://[a-z0-9.:-]+(?=/)", re.IGNORECASE)
"""A usual URL up to its path: all that decides about its host."""


def host_of(url: str) -> str:
    """Return host and port of `url` in one form: `h`, `H`, `h.` and `h:80` are one host, and so are `ü` and `xn--tda`.

    A URL without a valid host is its own host; its request fails before it is sent.
    """
    start = _START.match(url)
    try:
        return _known_host(start[0]) if start else _host(url)
    except ValueError:
        return url


def _host(url: str) -> str:
    parts = urlsplit(url)
    name, port = (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS.get(parts.scheme.lower(), 80)
    return f"{parse_literal(name) or _ascii(name)}:{port}"


_known_host = lru_cache(maxsize=1_000)(_host)


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:  # a label that is empty or too long
        return name

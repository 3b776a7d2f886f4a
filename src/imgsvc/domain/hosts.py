"""The normal form of a host: what the limits of fetches and webhooks are kept for."""

from urllib.parse import urlsplit

from imgsvc.domain.addresses import parse_literal

DEFAULT_PORTS = {"https": 443}
"""All other schemes: 80."""


def host_of(url: str) -> str:
    """Return host and port of `url` in one form: `h`, `H`, `h.` and `h:80` are one host, and so are `ü` and `xn--tda`.

    A URL without a valid host is its own host; its request fails before it is sent.
    """
    try:
        parts = urlsplit(url)
        name, port = (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS.get(parts.scheme.lower(), 80)
    except ValueError:
        return url
    return f"{parse_literal(name) or _ascii(name)}:{port}"


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:  # a label that is empty or too long
        return name

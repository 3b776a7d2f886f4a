"""Conditional requests: validators as they are kept, and the URL that they belong to (RFC 9110 §8.8, §13)."""

import hashlib

import httpx

from imgsvc.services.ports import Validators

MAX_VALIDATOR = 512  # characters


def validator(headers: httpx.Headers, name: str) -> str | None:
    """An ETag or Last-Modified that can be sent back later, or None: one that was cut short would never match."""
    value = headers.get(name, "")
    return value if 0 < len(value) <= MAX_VALIDATOR and value.isascii() and value.isprintable() else None


def url_hash(url: httpx.URL) -> str:
    """SHA-256, in hex, of a URL as it is sent: without its fragment."""
    return hashlib.sha256(str(url).partition("#")[0].encode()).hexdigest()


def conditions_of(known: Validators | None, url: httpx.URL) -> dict[str, str]:
    """The headers of a conditional request; none for another URL than the one that sent the validators.

    Two URLs may have the same validator for different images (RFC 9110 §8.8.3). Both are sent where there are both: a
    server that knows entity tags looks at no date (RFC 9110 §13.1.3).
    """
    if known is None or known.final_url_hash != url_hash(url):
        return {}
    given = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in given.items() if value}


def contradicts(not_modified: httpx.Response, known: Validators) -> bool:
    """Whether a 304 names another entity tag, or without tags another date, than was sent.

    Servers do that which compare dates alone, or send 304 for any that is not before their own. Then it validates
    nothing of ours (RFC 9111 §4.3.4). Weak and strong forms of a tag are the same here, as in If-None-Match
    (RFC 9110 §8.8.3.2).
    """
    headers = not_modified.headers
    tags = [tag.removeprefix("W/") for tag in (headers.get("etag"), known.etag) if tag]
    dates = [date for date in (headers.get("last-modified"), known.last_modified) if date]
    return len(set(tags if len(tags) == 2 else dates)) > 1  # ours and theirs

"""Conditional requests: the validators that are kept, and the URL they belong to (RFC 9110 §8.8, §13)."""

import hashlib

import httpx

from imgsvc.services.ports import Validators

MAX_VALIDATOR = 512  # characters


def validator(headers: httpx.Headers, name: str) -> str | None:
    """Return an ETag or Last-Modified that can be sent back later, or None: a truncated one would never match."""
    value = headers.get(name, "")
    return value if 0 < len(value) <= MAX_VALIDATOR and value.isascii() and value.isprintable() else None


def url_hash(url: httpx.URL) -> str:
    """Return the SHA-256, in hex, of a URL as it is sent: without its fragment."""
    return hashlib.sha256(str(url).partition("#")[0].encode()).hexdigest()


def validators_of(headers: httpx.Headers, url: httpx.URL) -> Validators:
    """Return the validators of a response from `url`."""
    return Validators(validator(headers, "etag"), validator(headers, "last-modified"), url_hash(url))


def conditional_headers(validators: Validators | None, url: httpx.URL) -> dict[str, str]:
    """Return the headers of a conditional request, or none if another URL sent the validators.

    Two URLs may have the same validator for different images (RFC 9110 §8.8.3). If there are both validators, both are
    sent: a server that supports entity tags ignores the date (RFC 9110 §13.1.3).
    """
    if validators is None or validators.final_url_hash != url_hash(url):
        return {}
    headers = {"If-None-Match": validators.etag, "If-Modified-Since": validators.last_modified}
    return {name: value for name, value in headers.items() if value}


def contradicts(not_modified: httpx.Response, validators: Validators) -> bool:
    """Return whether a 304 has a different entity tag from the one sent or, without tags, a different date.

    Some servers compare dates only, or send 304 for every date that is not before their own. Such a 304 does not
    validate our copy (RFC 9111 §4.3.4). Weak and strong forms of a tag are equal here, as in If-None-Match
    (RFC 9110 §8.8.3.2).
    """
    headers = not_modified.headers
    tags = [tag.removeprefix("W/") for tag in (headers.get("etag"), validators.etag) if tag]
    dates = [date for date in (headers.get("last-modified"), validators.last_modified) if date]
    return len(set(tags if len(tags) == 2 else dates)) > 1  # 2: both ours and theirs

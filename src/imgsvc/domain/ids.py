"""Identifiers: sortable by time, impossible to guess, safe in URLs and file names."""

import hashlib
import re
import secrets
import unicodedata
from datetime import datetime

# Crockford's base 32: no i, l, o, u, so that an id can be read out over the phone.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str, now: datetime) -> str:
    """Return `prefix_` + 26 characters: 48 bits of milliseconds, then 80 random bits (the layout of a ULID)."""
    value = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    """Return whether `text` has the format of an id made by `new_id` with `prefix`."""
    return re.fullmatch(rf"{prefix}_[{_ALPHABET}]{{26}}", text) is not None


def slug(text: str, *, limit: int = 40) -> str:
    """Reduce `text` to ASCII letters, digits and single dashes; never empty."""
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower())[:limit].strip("-") or "image"


def rendition_key(*, batch_id: str, position: int, slug: str, name: str, digest: str, extension: str) -> str:
    """Return the storage key of a rendition; because of the `digest`, the bytes under a key never change."""
    suffix = "" if name == "main" else f"-{name}"
    return f"{batch_id}/{position}-{slug}{suffix}-{digest}.{extension}"


def digest(data: bytes, round_number: int) -> str:
    """Return 8 hex digits that make the key of these bytes unique within an asset.

    Later rounds of a batch have keys of their own: unreferenced files of an earlier round are removed by a process
    that may be slow, and their keys must not be reused before then.
    """
    salt = b"" if round_number == 1 else b"round %d " % round_number
    return hashlib.sha256(salt + data).hexdigest()[:8]


def parse_rendition_key(key: str) -> tuple[str, int] | None:
    """Return the batch id and asset position in `key`, or None if it is not in the format of a rendition key."""
    match = re.fullmatch(r"(bat_[0-9a-z]{26})/(\d{1,9})-[0-9a-z_-]+\.[a-z0-9]{2,5}", key)
    return (match[1], int(match[2])) if match else None

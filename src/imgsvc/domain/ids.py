"""Identifiers: sortable by time, impossible to guess, safe in URLs and file names."""

import re
import secrets
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

"""API keys: how one looks, what is kept of it, and whether the one presented is it."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import NamedTuple

_TOKEN = re.compile(r"isk_([0-9a-z]{26})_[0-9a-f]{64}")


class KeyHashes(NamedTuple):
    """What is kept of a key's secret, as hex SHA-256; the former one counts until `former_until`."""

    current: str
    former: str | None = None
    former_until: datetime | None = None


def new_token(key_id: str) -> str:
    """A secret that names its key: `isk_`, the key's own 26 characters, 256 random bits in hex."""
    return f"isk_{key_id.removeprefix('key_')}_{secrets.token_hex(32)}"


def key_id_of(token: str) -> str | None:
    """The id of the key that `token` claims to be; None when it has not the shape of one."""
    match = _TOKEN.fullmatch(token)
    return f"key_{match[1]}" if match else None


def hash_token(token: str) -> str:
    """Plain SHA-256: nobody guesses 256 random bits, so nothing has to be slow."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_matches(token: str, hashes: KeyHashes, now: datetime) -> bool:
    """Whether `token` is the key; takes the same time whichever digit is wrong."""
    presented = hash_token(token)
    is_current = hmac.compare_digest(presented, hashes.current)
    is_former = hmac.compare_digest(presented, hashes.former or "")
    in_grace = hashes.former_until is not None and now < hashes.former_until
    return is_current or (is_former and in_grace)

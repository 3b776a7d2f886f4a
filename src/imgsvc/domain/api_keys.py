"""API keys: the format of their tokens, the hashes stored for a token, and the check of a presented one."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import NamedTuple

_TOKEN = re.compile(r"isk_([0-9a-z]{26})_[0-9a-f]{64}")


class KeyHashes(NamedTuple):
    """The stored hashes of a key's tokens, as hex SHA-256; the former token works until `former_until`."""

    current: str
    former: str | None = None
    former_until: datetime | None = None


def new_token(key_id: str) -> str:
    """Return a new token that contains its key's id: `isk_`, the 26 characters of the id, 256 random bits in hex."""
    return f"isk_{key_id.removeprefix('key_')}_{secrets.token_hex(32)}"


def key_id_of(token: str) -> str | None:
    """Return the id of the key that `token` claims to belong to; None if it does not have the format of a token."""
    match = _TOKEN.fullmatch(token)
    return f"key_{match[1]}" if match else None


def hash_token(token: str) -> str:
    """Return the SHA-256 in hex. 256 random bits cannot be guessed, so a slow hash is not needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_matches(token: str, hashes: KeyHashes, now: datetime) -> bool:
    """Return whether `token` matches the current hash, or the former one in its grace period; in constant time."""
    presented = hash_token(token)
    is_current = hmac.compare_digest(presented, hashes.current)
    is_former = hmac.compare_digest(presented, hashes.former or "")
    in_grace = hashes.former_until is not None and now < hashes.former_until
    return is_current or (is_former and in_grace)

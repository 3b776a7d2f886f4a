"""Storage keys of renditions: `{folder}/{name}-{digest}.{extension}`, the same for the same bytes in every batch."""

import hashlib
import re
import secrets
from base64 import b32encode

DIGEST_LENGTH = 16
"""Characters of a digest in base 32: 80 bits."""
_KEY = re.compile(rf"([0-9a-f]{{24}})/[a-z0-9_-]+-[a-z2-7]{{{DIGEST_LENGTH}}}\.[a-z0-9]{{2,5}}")
_BATCH_KEY = re.compile(r"(bat_[0-9a-z]{26})/(\d{1,9})-[0-9a-z_-]+\.[a-z0-9]{2,5}")


def new_media_folder() -> str:
    """Return the folder of an API key's images: 96 random bits, which cannot be guessed."""
    return secrets.token_hex(12)


def digest(data: bytes) -> str:
    """Return the part of a key that follows from the bytes stored under it."""
    return b32encode(hashlib.sha256(data).digest()[: DIGEST_LENGTH * 5 // 8]).decode().lower()


def rendition_key(*, folder: str, name: str, rendition: str, digest: str, extension: str) -> str:
    """Return the key of a rendition; because of the `digest`, the bytes under a key never change."""
    suffix = "" if rendition == "main" else f"-{rendition}"
    return f"{folder}/{name}{suffix}-{digest}.{extension}"


def digest_in(key: str) -> str:
    """Return the digest in `key`."""
    return key.rpartition(".")[0].rpartition("-")[2]


def content_of(key: str) -> str:
    """Return a text that is the same for the same bytes; of a key of an earlier version, the key itself."""
    return digest_in(key) if folder_of(key) else key


def folder_of(key: str) -> str | None:
    """Return the media folder in `key`, or None if it is not in the format of a key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def key_hash(key: str) -> bytes:
    """Return 128 bits that identify `key` in the table of stored files."""
    return hashlib.sha256(key.encode()).digest()[:16]


def parse_batch_key(key: str) -> tuple[str, int] | None:
    """Return batch id and asset position in a key of an earlier version, where each batch had a folder; or None."""
    match = _BATCH_KEY.fullmatch(key)
    return (match[1], int(match[2])) if match else None

"""Links that open by themselves, for a time: whoever has one needs no API key."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlencode

LIFETIME = timedelta(days=7)
"""Longer than a webhook is tried (four days)."""


def signed_query(path: str, *, secret: str, until: datetime) -> str:
    """`expires=…&signature=…`, to be put behind the `path` of a link."""
    expires = int(until.timestamp())
    return urlencode({"expires": expires, "signature": _signature(path, expires, secret)})


def is_valid_link(path: str, *, expires: int, signature: str, secrets: Iterable[str], now: datetime) -> bool:
    """Whether the query of a link was signed with one of `secrets` for this path, and is still good."""
    signatures = [_signature(path, expires, secret) for secret in secrets]
    is_ours = [hmac.compare_digest(signature.encode(), ours.encode()) for ours in signatures]
    return any(is_ours) and now.timestamp() < expires


def _signature(path: str, expires: int, secret: str) -> str:
    message = f"imgsvc link {expires} {path}"
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), message.encode(), hashlib.sha256)).decode().rstrip("=")

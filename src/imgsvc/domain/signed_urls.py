"""Signed links: they open without an API key until they expire."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlencode

LIFETIME = timedelta(days=7)
"""Longer than the schedule of webhook attempts (a little over three days)."""


def signed_query(path: str, *, secret: str, until: datetime) -> str:
    """Return the query of a link to `path`: `expires=…&signature=…`."""
    expires = int(until.timestamp())
    return urlencode({"expires": expires, "signature": _signature(path, expires, secret)})


def is_valid_link(path: str, *, expires: int, signature: str, secrets: Iterable[str], now: datetime) -> bool:
    """Return whether the query of a link was signed for this path with one of `secrets` and has not expired."""
    expected = [_signature(path, expires, secret) for secret in secrets]
    matches = [hmac.compare_digest(signature.encode(), each.encode()) for each in expected]
    return any(matches) and now.timestamp() < expires


def _signature(path: str, expires: int, secret: str) -> str:
    message = f"imgsvc link {expires} {path}"
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), message.encode(), hashlib.sha256)).decode().rstrip("=")

"""Webhooks: the body of an event, its signature (Standard Webhooks 1.0.0), and the schedule of attempts."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

MAX_RETRY_AFTER = timedelta(hours=1)
_GONE = 410


def event_body(event_type: str, *, at: datetime, data: Mapping[str, Any]) -> str:
    """Return the message to sign and post, as compact JSON."""
    return json.dumps({"type": event_type, "timestamp": iso(at), "data": data}, separators=(",", ":"))


def iso(at: datetime) -> str:
    """Format a UTC time as in RFC 3339, with a `Z`."""
    return at.isoformat().replace("+00:00", "Z")


def signed_headers(delivery_id: str, body: str, *, secrets: Iterable[str], at: datetime) -> dict[str, str]:
    """Return the headers of one attempt, with one signature per secret (several while a secret is rotated)."""
    signatures = (Webhook(secret).sign(msg_id=delivery_id, timestamp=at, data=body) for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def valid_secrets(stored: Sequence[Mapping[str, Any]], now: datetime, *, kind: str = "secret") -> list[str]:
    """Return the secrets to sign with: those that do not expire, and those still in their grace period.

    `kind` is `secret` for webhooks, or `link_secret` for links to reports; older entries lack the latter.
    """
    return [
        entry[kind]
        for entry in stored
        if kind in entry and (entry.get("until") is None or datetime.fromisoformat(str(entry["until"])) > now)
    ]


def is_delivered(status: int) -> bool:
    return 200 <= status < 300


def next_attempt_at(
    now: datetime,
    *,
    attempts: int,
    schedule: Sequence[float],
    status: int | None = None,
    retry_after: float | None = None,
) -> datetime | None:
    """Return the time of the next attempt after `attempts` failed ones; None after the last, and after a 410 Gone.

    `schedule` has the seconds before each attempt. `retry_after` (seconds) counts for a 429 or 503 only; it may
    lengthen a delay, up to an hour, but never shortens one. Delays vary by ±10 %, to spread deliveries that failed
    together.
    """
    if attempts >= len(schedule) or status == _GONE:
        return None
    wait = timedelta(seconds=schedule[attempts]) * random.uniform(0.9, 1.1)  # noqa: S311  # spreading load, nothing secret
    if retry_after is not None and status in (429, 503):
        wait = max(wait, min(timedelta(seconds=retry_after), MAX_RETRY_AFTER))
    return now + wait

"""Time-outs of the service as long as a test may take: a machine that stood still is no part that is away."""

from typing import Any

from imgsvc.adapters.http.fetcher import FetchLimits

LONG = 60.0

PATIENT = FetchLimits(
    connect_timeout=LONG, read_timeout=LONG, total_timeout=LONG, dns_timeout=LONG, webhook_timeout=LONG
)
"""A test makes one of them short, by which then every call ends, however late anything else comes."""

SLOWLY: dict[str, Any] = {"connect_timeout": 20.0, "dns_timeout": 20.0, "redis_timeout": LONG}
"""The same as settings; the others are long already. With less, an upload that waited for Redis would wake no lane."""

"""Timeouts as long as a test may take: on a machine that stalls, they must not report a service as unavailable."""

from typing import Any

from imgsvc.adapters.http.fetcher import FetchLimits

LONG = 60.0

LONG_TIMEOUTS = FetchLimits(
    connect_timeout=LONG, read_timeout=LONG, total_timeout=LONG, dns_timeout=LONG, webhook_timeout=LONG
)
"""A test shortens one of them, which then ends every call, however slow everything else is."""

LONG_TIMEOUT_SETTINGS: dict[str, Any] = {"connect_timeout": 20.0, "dns_timeout": 20.0, "redis_timeout": LONG}
"""The same for settings; the others are long by default. With less, an upload that waits for Redis wakes no lane."""

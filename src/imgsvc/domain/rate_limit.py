"""The state of a rate limit, and the HTTP headers that report it."""

from dataclasses import dataclass
from math import ceil

WINDOW = 60
"""Seconds over which actions are counted."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The state of a rate limit: `remaining` of `limit` actions per minute are left; more follow in `reset` seconds."""

    action: str
    granted: bool
    limit: int
    remaining: int
    reset: float

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        return {
            "RateLimit-Policy": f'"{self.action}";q={self.limit};w={WINDOW}',
            "RateLimit": f'"{self.action}";r={self.remaining};t={ceil(self.reset)}',
        }

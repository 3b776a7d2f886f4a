"""The state of a rate limit, and the HTTP headers that report it."""

from dataclasses import dataclass
from math import ceil

WINDOW = 60
"""Seconds."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit of `limit` requests per minute, of which `remaining` are left; more are granted in `reset` seconds."""

    what: str
    granted: bool
    limit: int
    remaining: int
    reset: float

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        return {
            "RateLimit-Policy": f'"{self.what}";q={self.limit};w={WINDOW}',
            "RateLimit": f'"{self.what}";r={self.remaining};t={ceil(self.reset)}',
        }

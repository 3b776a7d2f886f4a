"""How much of an allowance is left, and how HTTP says so."""

from dataclasses import dataclass
from math import ceil

WINDOW = 60
"""Seconds."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`most` in a minute, of which `remaining` are left; `reset` is in seconds: then there are more."""

    what: str
    granted: bool
    most: int
    remaining: int
    reset: float

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)."""
        return {
            "RateLimit-Policy": f'"{self.what}";q={self.most};w={WINDOW}',
            "RateLimit": f'"{self.what}";r={self.remaining};t={ceil(self.reset)}',
        }

"""How long to wait before trying again, and when to give up."""

import random
from dataclasses import dataclass
from datetime import timedelta

from imgsvc.errors import AssetError, SandboxKilled, SandboxUnavailable, StorageError

OWN_TROUBLE = (StorageError, SandboxUnavailable, SandboxKilled)
"""Errors that are our own parts', whatever the origin does."""
_MAX_EXPONENT = 32
"""Far beyond `longest`, and far from a number that Python cannot hold."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter; waits above a patience are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    longest: timedelta = timedelta(days=1)
    patience: timedelta = timedelta(seconds=3)
    """For an origin."""
    own_patience: timedelta = timedelta(seconds=10)
    """For a part of our own: the image's bytes are here, and stay in memory meanwhile."""
    ours: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (2, 8, 30, 60, 60))
    """Waits for what is our own, storage and quarantine: when they are away for two minutes, that costs no image."""

    def wait(self, failures: int, error: AssetError | SandboxUnavailable) -> timedelta | None:
        """Return how long to wait after the `failures`-th failure of the same part, `error`; None: it was the last.

        Never less than the origin asked for.
        """
        if not error.retryable:
            return None
        if isinstance(error, OWN_TROUBLE):
            jitter = random.uniform(0.9, 1.1)  # noqa: S311  # jitter
            return self.ours[failures - 1] * jitter if failures <= len(self.ours) else None
        if failures >= self.max_attempts:
            return None
        asked = timedelta(seconds=getattr(error, "retry_after", None) or 0)
        return max(self._backoff(failures - 1) * random.uniform(0.5, 1.5), asked)  # noqa: S311  # jitter

    def _backoff(self, exponent: int) -> timedelta:
        seconds = self.base.total_seconds() * self.factor ** min(exponent, _MAX_EXPONENT)
        return timedelta(seconds=min(seconds, self.longest.total_seconds()))

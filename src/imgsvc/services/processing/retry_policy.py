"""The retry policy: how long to wait before another attempt, and when to give up."""

import random
from dataclasses import dataclass
from datetime import timedelta

from imgsvc.errors import AssetError, SandboxKilled, SandboxUnavailable, StorageError

OWN_ERRORS = (StorageError, SandboxUnavailable, SandboxKilled)
"""Errors of our own services (storage and sandbox), for which the origin is not to blame."""
_MAX_EXPONENT = 32
"""Far beyond `longest`, and far below the largest float."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter. Long waits are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    longest: timedelta = timedelta(days=1)
    patience: timedelta = timedelta(seconds=3)
    """The longest wait for an origin that is spent in the worker."""
    own_patience: timedelta = timedelta(seconds=10)
    """The same for our own services: the image has been fetched already, and its bytes stay in memory."""
    own_waits: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (2, 8, 30, 60, 60))
    """Waits between the attempts at our own services: an outage of two minutes costs no image."""

    def wait(self, failures: int, error: AssetError | SandboxUnavailable) -> timedelta | None:
        """Return the wait after `error`, the `failures`-th failure of the same service; None when it was the last.

        The wait is never shorter than the origin asked for.
        """
        if not error.retryable:
            return None
        if isinstance(error, OWN_ERRORS):
            jitter = random.uniform(0.9, 1.1)  # noqa: S311  # jitter
            return self.own_waits[failures - 1] * jitter if failures <= len(self.own_waits) else None
        if failures >= self.max_attempts:
            return None
        asked = timedelta(seconds=getattr(error, "retry_after", None) or 0)
        return max(self._backoff(failures - 1) * random.uniform(0.5, 1.5), asked)  # noqa: S311  # jitter

    def _backoff(self, exponent: int) -> timedelta:
        seconds = self.base.total_seconds() * self.factor ** min(exponent, _MAX_EXPONENT)
        return timedelta(seconds=min(seconds, self.longest.total_seconds()))

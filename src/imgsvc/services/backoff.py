"""How long to wait before trying again, and when to give up."""

import random
from dataclasses import dataclass
from datetime import timedelta

from imgsvc.errors import AssetError, QuarantineUnavailable, StorageError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter; waits above `patience` are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    patience: timedelta = timedelta(seconds=3)
    ours: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (2, 8, 30, 60, 60))
    """Waits for what is our own, storage and quarantine: when they are away for two minutes, that costs no image."""

    def wait(self, attempts: int, error: AssetError | QuarantineUnavailable) -> timedelta | None:
        """How long to wait after the `attempts`-th attempt, which failed with `error`; None: it was the last.

        Never less than the origin asked for.
        """
        if not error.retryable:
            return None
        if isinstance(error, StorageError | QuarantineUnavailable):
            jitter = random.uniform(0.9, 1.1)  # noqa: S311  # jitter
            return self.ours[attempts - 1] * jitter if attempts <= len(self.ours) else None
        if attempts >= self.max_attempts:
            return None
        backoff = self.base * self.factor ** (attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311  # jitter
        return max(backoff, timedelta(seconds=getattr(error, "retry_after", None) or 0))

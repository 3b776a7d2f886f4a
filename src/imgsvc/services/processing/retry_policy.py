"""Retries: when to wait and when to give up, and the failed attempts of one run of an asset."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.status import Suspicion
from imgsvc.errors import AssetError, InternalError, SandboxKilled, SandboxUnavailable, StorageError
from imgsvc.services.processing.outcomes import Failed, Postponed

T = TypeVar("T")

OWN_ERRORS = (StorageError, SandboxUnavailable, SandboxKilled)
"""Errors of our own services (storage and sandbox), which the origin did not cause."""
_MAX_EXPONENT = 32
"""Far beyond `longest`, and far below the largest float."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter. Waits for an origin are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    longest: timedelta = timedelta(days=1)
    give_up_after: timedelta = timedelta(hours=24)
    """The time that the images of a batch wait for hosts that ask for pauses; see `RenditionPlan.give_up_at`."""
    max_own_wait: timedelta = timedelta(seconds=10)
    """The longest wait for our own services that is spent in the worker: the image would have to be fetched again."""
    own_waits: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (2, 8, 30, 60, 60))
    """Waits between the attempts at our own services: an outage of two minutes fails no image."""

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


class RetryLater(Exception):
    """One of our own services is unavailable for longer than a worker waits; retry in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"retry in {seconds} s")
        self.seconds = seconds


class Attempts:
    """The counters of one run of `asset`, which continue those of its earlier runs.

    Each service has its own: failures of the storage do not use up the attempts at the origin.
    """

    def __init__(self, asset: Claimed, retries: RetryPolicy) -> None:
        self._asset = asset
        self._retries = retries
        self.origin = asset.attempts
        self._storage = asset.storage_failures
        self._quarantine = asset.quarantine_failures

    @property
    def asset(self) -> Claimed:
        """The asset with the failures of this run, as it will be written."""
        return self._asset._replace(storage_failures=self._storage, quarantine_failures=self._quarantine)

    async def at_storage(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the storage until it succeeds; the bytes to store stay in memory.

        Each rendition gets all the attempts that earlier runs left, so that ten renditions do not share five attempts
        at a flaky storage.

        Raises:
            RetryLater: another run should try again later.
            StorageError: this was the last attempt.
        """
        failures = self._asset.storage_failures
        while True:
            try:
                return await call()
            except StorageError as error:
                failures += 1
                self._storage = max(self._storage, failures)
                await self._wait(failures, error)

    async def at_codec(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the codec until the sandbox, if the image needs it, is available.

        Raises:
            RetryLater: another run should try again later.
            SandboxUnavailable, SandboxKilled: this was the last attempt.
        """
        while True:
            try:
                return await call()
            except (SandboxUnavailable, SandboxKilled) as error:
                self._quarantine += 1
                await self._wait(self._quarantine, error)

    async def _wait(self, failures: int, error: AssetError | SandboxUnavailable) -> None:
        wait = self._retries.wait(failures, error)
        if wait is None:
            raise error
        if wait > self._retries.max_own_wait:
            raise RetryLater(wait.total_seconds()) from error
        await asyncio.sleep(wait.total_seconds())

    def postponed(self, due_at: datetime, suspicion: Suspicion | None = None) -> Postponed:
        """Postpone the asset without counting an attempt; the suspicion that it overran is never replaced."""
        asset = self.asset
        if suspicion and asset.suspicion != Suspicion.OVERRAN:
            asset = asset._replace(suspicion=suspicion)
        return Postponed(asset, self.origin, due_at)

    def failed(self, error: Exception) -> Failed:
        """Fail the asset; any error other than an `AssetError` becomes an `InternalError`."""
        return Failed(self.asset, self.origin + 1, error if isinstance(error, AssetError) else InternalError())

"""Failed tries of one asset in one run, counted for the origin, the storage and the quarantine each."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.status import Suspicion
from imgsvc.errors import AssetError, InternalError, SandboxKilled, SandboxUnavailable, StorageError
from imgsvc.services.processing.outcomes import Failed, Postponed
from imgsvc.services.processing.retry_policy import RetryPolicy

T = TypeVar("T")


class TryLater(Exception):
    """A part of ours is away for longer than a worker waits; the next try is to be made in so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Attempts:
    """The counters of one run at `asset`, which begin where the runs before ended.

    None of them uses up another's tries: an origin is asked `max_attempts` times whatever the storage does.
    """

    def __init__(self, asset: Claimed, retries: RetryPolicy) -> None:
        self._asset = asset
        self._retries = retries
        self.origin = asset.attempts
        self._storage = asset.storage_failures
        self._quarantine = asset.quarantine_failures

    @property
    def asset(self) -> Claimed:
        """The asset as it is to be written: with the failures of this run."""
        return self._asset._replace(storage_failures=self._storage, quarantine_failures=self._quarantine)

    async def at_storage(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the storage until it succeeds. What is to be stored stays in memory meanwhile.

        Each rendition has the tries that the runs before left: ten of them on a flaky storage do not share five.

        Raises:
            TryLater: the next try is to be made later, by another run.
            StorageError: it was the last try.
        """
        failures = self._asset.storage_failures
        while True:
            try:
                return await call()
            except StorageError as error:
                failures += 1
                self._storage = max(self._storage, failures)
                await self._wait(failures, error)

    async def at_quarantine(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the codec until quarantine, should the image need it, is there.

        Raises:
            TryLater: the next try is to be made later, by another run.
            SandboxUnavailable, SandboxKilled: it was the last try.
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
        if wait > self._retries.own_patience:
            raise TryLater(wait.total_seconds()) from error
        await asyncio.sleep(wait.total_seconds())

    def postponed(self, due_at: datetime, suspicion: Suspicion | None = None) -> Postponed:
        """Put the asset off without counting an attempt; a mark that it overran stays."""
        asset = self.asset
        if suspicion and asset.suspicion != Suspicion.OVERRAN:
            asset = asset._replace(suspicion=suspicion)
        return Postponed(asset, self.origin, due_at)

    def failed(self, error: Exception) -> Failed:
        """Give the asset up; an error that is none of an asset's is a fault of ours."""
        return Failed(self.asset, self.origin + 1, error if isinstance(error, AssetError) else InternalError())

"""One asset from its URL to its stored renditions: fetch, compress, store."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from imgsvc.db.queries.claims import Claimed
from imgsvc.domain.ids import digest, rendition_key
from imgsvc.domain.images import Rendition
from imgsvc.domain.specs import Spec
from imgsvc.errors import (
    AssetError,
    InternalError,
    LeftAtWork,
    NoRoom,
    QuarantineUnavailable,
    StorageError,
    WorkerCrash,
)
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.codec import CodecPool
from imgsvc.services.fairness import FairGate, Lease
from imgsvc.services.outcomes import Failed, Outcome, Postponed, Succeeded
from imgsvc.services.pacing import HostPacer, HostPaused
from imgsvc.services.ports import Fetched, Origin, Storage

log = get_logger(__name__)

UNKNOWN_SIZE = 2**20
"""Bytes reserved for a body before its length is known."""
MAX_LOST = 10
"""Runs that may die with an asset before it is given up. From the first on it is a suspect, whose picture is
compressed in quarantine: this is for whatever kills workers from there too, and innocents must not come near it."""
NO_QUARANTINE = timedelta(seconds=5)
"""How long a suspect waits when there is no quarantine."""
EXTENSIONS = {"jpeg": "jpg"}
"""File names' endings where they differ from the format's name."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter; waits above `patience` are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    patience: timedelta = timedelta(seconds=3)
    storage: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (2, 8, 30, 60, 60))
    """Waits for the storage. It is ours: when it is away for two minutes, that costs no image."""

    def wait(self, attempts: int, error: AssetError) -> timedelta | None:
        """How long to wait after the `attempts`-th attempt, which failed with `error`; None: it was the last.

        Never less than the origin asked for.
        """
        if not error.retryable:
            return None
        if isinstance(error, StorageError):
            jitter = random.uniform(0.9, 1.1)  # noqa: S311  # jitter
            return self.storage[attempts - 1] * jitter if attempts <= len(self.storage) else None
        if attempts >= self.max_attempts:
            return None
        backoff = self.base * self.factor ** (attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311  # jitter
        return max(backoff, timedelta(seconds=getattr(error, "retry_after", None) or 0))


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all lanes of a worker process share to work on assets."""

    origin: Origin
    storage: Storage
    codec: CodecPool
    hosts: HostPacer
    fetches: FairGate
    """Fetches in flight."""
    memory: FairGate
    """Bytes of fetched bodies."""
    retries: RetryPolicy
    clock: Clock

    async def make(self, asset: Claimed, *, batch_id: str, specs: Sequence[Spec], round_number: int = 1) -> Outcome:
        """Work on one claimed asset until it has succeeded, failed, or must wait; when cancelled it is postponed."""
        if asset.lost >= MAX_LOST:
            return Failed(asset, asset.attempts, WorkerCrash())
        attempts = asset.attempts
        try:
            while True:
                ending = await self._try(asset, attempts, batch_id=batch_id, specs=specs, round_number=round_number)
                if not isinstance(ending, timedelta):
                    return ending
                attempts += 1
                await asyncio.sleep(ending.total_seconds())
        except asyncio.CancelledError:
            # Handed back: the attempt under way does not count, those that failed do. Otherwise an origin so slow that
            # no lane lives long enough for the last attempt would keep its batch from ever ending.
            return Postponed(asset, attempts, self.clock())

    async def _try(
        self, asset: Claimed, attempts: int, *, batch_id: str, specs: Sequence[Spec], round_number: int
    ) -> Outcome | timedelta:
        """One attempt: how it ended, or how long to wait for the next."""
        attempt = attempts + 1
        try:
            return await self._attempt(asset, attempt, batch_id=batch_id, specs=specs, round_number=round_number)
        except (HostPaused, LeftAtWork, QuarantineUnavailable) as reason:
            return self._put_off(asset, attempts, reason)
        except AssetError as error:
            wait = self.retries.wait(attempt, error)
            if wait is None:
                return Failed(asset, attempt, error)
        except Exception:  # the top of an asset's work: a fault of ours must not take 63 neighbours with it
            log.exception("asset_broke_us", batch_id=batch_id, position=asset.position, url=asset.origin_url)
            return Failed(asset, attempt, InternalError())
        return Postponed(asset, attempt, self._after(wait)) if wait > self.retries.patience else wait

    def _put_off(
        self, asset: Claimed, attempts: int, reason: HostPaused | LeftAtWork | QuarantineUnavailable
    ) -> Postponed:
        """For another run, without having made an attempt that counts."""
        match reason:
            case HostPaused(seconds=seconds):
                return Postponed(asset, attempts, self._after(timedelta(seconds=seconds)))
            case LeftAtWork():  # the next must not have the same picture in a thread, where it cannot be stopped
                return Postponed(asset._replace(lost=asset.lost + 1), attempts, self.clock())
            case QuarantineUnavailable():
                return Postponed(asset, attempts, self._after(NO_QUARANTINE))

    def _after(self, wait: timedelta) -> datetime:
        return self.clock() + wait

    async def _attempt(
        self, asset: Claimed, attempt: int, *, batch_id: str, specs: Sequence[Spec], round_number: int
    ) -> Succeeded:
        fetched, lease = await self._fetch(asset.origin_url, batch_id)
        with lease:
            compressed = await self.codec.compress(fetched.body, specs, key=batch_id, suspect=asset.lost > 0)
            renditions = [
                await self._store(rendition, spec, asset, batch_id, round_number)
                for rendition, spec in zip(compressed.renditions, specs, strict=True)
            ]
        return Succeeded(
            asset,
            attempt,
            input_format=compressed.input_format,
            width=compressed.width,
            height=compressed.height,
            input_bytes=len(fetched.body),
            renditions=tuple(renditions),
            etag=fetched.etag,
            last_modified=fetched.last_modified,
        )

    async def _fetch(self, url: str, batch_id: str) -> tuple[Fetched, Lease]:
        """The body, and the lease on the memory it lies in."""
        size = UNKNOWN_SIZE
        while True:
            async with self.hosts.slot(urlsplit(url).netloc.lower(), batch_id):
                with await self.fetches.acquire(batch_id):
                    lease = await self.memory.acquire(batch_id, size)
                    try:
                        fetched = await self.origin.fetch(url, lease)
                    except NoRoom as more:
                        lease.release()
                        size = more.size
                        continue
                    except BaseException:
                        lease.release()
                        raise
            lease.shrink(len(fetched.body))
            return fetched, lease

    async def _store(
        self, rendition: Rendition, spec: Spec, asset: Claimed, batch_id: str, round_number: int
    ) -> dict[str, object]:
        key = rendition_key(
            batch_id=batch_id,
            position=asset.position,
            slug=asset.slug,
            name=spec.name,
            digest=digest(rendition.data, round_number),
            extension=EXTENSIONS.get(rendition.format, rendition.format),
        )
        await self.storage.put(key, rendition.data, media_type=f"image/{rendition.format}")
        return {
            "name": spec.name,
            "key": key,
            "format": rendition.format,
            "width": rendition.width,
            "height": rendition.height,
            "bytes": len(rendition.data),
            "action": rendition.action,
        }

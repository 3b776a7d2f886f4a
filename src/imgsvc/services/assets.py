"""One asset from its URL to its stored renditions: fetch, compress, store."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from imgsvc.db.queries.assets import Claimed
from imgsvc.domain.ids import rendition_key
from imgsvc.domain.images import Rendition
from imgsvc.domain.specs import Spec
from imgsvc.errors import AssetError, InternalError, NoRoom, WorkerCrash
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
MAX_LOST = 3
"""Runs that may die with an asset before it is given up as the likely cause."""
EXTENSIONS = {"jpeg": "jpg"}
"""File names' endings where they differ from the format's name."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter; waits above `patience` are spent in the database, not in a worker."""

    max_attempts: int = 3
    base: timedelta = timedelta(seconds=0.5)
    factor: float = 4.0
    patience: timedelta = timedelta(seconds=3)

    def wait(self, attempts: int, retry_after: float | None) -> timedelta:
        """How long to wait after the `attempts`-th failed attempt; never less than the origin asked for."""
        backoff = self.base * self.factor ** (attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311  # jitter
        return max(backoff, timedelta(seconds=retry_after or 0))


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

    async def make(self, asset: Claimed, *, batch_id: str, specs: Sequence[Spec]) -> Outcome:
        """Work on one claimed asset until it has succeeded, failed, or must wait; when cancelled it is postponed."""
        if asset.lost >= MAX_LOST:
            return Failed(asset, asset.attempts, WorkerCrash())
        attempts = asset.attempts
        try:
            while True:
                outcome, wait = await self._try(asset, attempts, batch_id=batch_id, specs=specs)
                if outcome is not None:
                    return outcome
                attempts += 1
                await asyncio.sleep(wait.total_seconds())
        except asyncio.CancelledError:
            # Handed back: the attempt under way does not count, those that failed do. Otherwise an origin so slow that
            # no lane lives long enough for the last attempt would keep its batch from ever ending.
            return Postponed(asset, attempts, self.clock())

    async def _try(
        self, asset: Claimed, attempts: int, *, batch_id: str, specs: Sequence[Spec]
    ) -> tuple[Outcome | None, timedelta]:
        """One attempt: how it ended, or None and how long to wait for the next."""
        at_once = timedelta()
        try:
            return await self._attempt(asset, attempts + 1, batch_id=batch_id, specs=specs), at_once
        except HostPaused as paused:
            return Postponed(asset, attempts, self._after(timedelta(seconds=paused.seconds))), at_once
        except AssetError as error:
            attempts += 1
            if not error.retryable or attempts >= self.retries.max_attempts:
                return Failed(asset, attempts, error), at_once
            wait = self.retries.wait(attempts, getattr(error, "retry_after", None))
        except Exception:  # the top of an asset's work: a fault of ours must not take 63 neighbours with it
            log.exception("asset_broke_us", batch_id=batch_id, position=asset.position, url=asset.origin_url)
            return Failed(asset, attempts + 1, InternalError()), at_once
        if wait > self.retries.patience:
            return Postponed(asset, attempts, self._after(wait)), at_once
        return None, wait

    def _after(self, wait: timedelta) -> datetime:
        return self.clock() + wait

    async def _attempt(self, asset: Claimed, attempt: int, *, batch_id: str, specs: Sequence[Spec]) -> Succeeded:
        fetched, lease = await self._fetch(asset.origin_url, batch_id)
        with lease:
            compressed = await self.codec.compress(fetched.body, specs, key=batch_id)
            renditions = [
                await self._store(rendition, spec, asset, batch_id)
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

    async def _store(self, rendition: Rendition, spec: Spec, asset: Claimed, batch_id: str) -> dict[str, object]:
        key = rendition_key(
            batch_id=batch_id,
            position=asset.position,
            slug=asset.slug,
            name=spec.name,
            digest=hashlib.sha256(rendition.data).hexdigest()[:8],
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

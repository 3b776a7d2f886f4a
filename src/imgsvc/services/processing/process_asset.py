"""One asset from its URL to its stored renditions: fetch, compress, store."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.imaging.compress import Rendition
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import Suspicion
from imgsvc.errors import AssetError, DecodeAbandoned, Overran, QuarantineUnavailable, WorkerCrash
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.codec.pool import CodecPool
from imgsvc.services.ports import Fetched, Storage
from imgsvc.services.processing.attempts import Attempts, TryLater
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Succeeded
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.processing.retry_policy import OWN_TROUBLE, RetryPolicy
from imgsvc.services.processing.worker_stats import WorkerStats
from imgsvc.services.throttling.host_limiter import HostPaused

log = get_logger(__name__)

MAX_LOST = 10
"""Runs that may die with an asset before it is given up. From the first on it is a suspect, whose image is
compressed in quarantine: this is for whatever kills workers from there too, and innocents must not come near it."""


@dataclass(frozen=True, slots=True)
class AssetProcessor:
    """What all lanes of a worker process share to work on assets."""

    fetching: Fetching
    storage: Storage
    codec: CodecPool
    retries: RetryPolicy
    clock: Clock
    stats: WorkerStats = field(default_factory=WorkerStats)

    async def process(self, asset: Claimed, plan: RenditionPlan, known: PreviousResult | None = None) -> Outcome:
        """Work on one claimed asset until it has succeeded, failed, or must wait; when cancelled it is postponed.

        With `known`, which was made to the same wish, its origin is asked whether that is still good.
        """
        outcome = await self._process(asset, plan, known)
        self.stats.count(outcome)
        return outcome

    async def _process(self, asset: Claimed, plan: RenditionPlan, known: PreviousResult | None) -> Outcome:
        if asset.lost >= MAX_LOST:
            return Failed(asset, asset.attempts, WorkerCrash())
        tries = Attempts(asset, self.retries)
        try:
            while True:
                ending = await self._try(tries, plan, known)
                if not isinstance(ending, timedelta):
                    return ending
                await asyncio.sleep(ending.total_seconds())
        except asyncio.CancelledError:
            # Handed back: the try under way does not count, those that failed do. Otherwise an origin or a storage so
            # slow that no lane lives long enough for the last one would keep its batch from ever ending.
            return tries.postponed(self.clock())

    async def _try(self, tries: Attempts, plan: RenditionPlan, known: PreviousResult | None) -> Outcome | timedelta:
        """Make one attempt; returns how it ended, or how long to wait for the next."""
        try:
            return await self._attempt(tries, plan, known)
        except (HostPaused, TryLater) as pause:
            return tries.postponed(self.clock() + timedelta(seconds=pause.seconds))
        except DecodeAbandoned as left:  # nothing died, but a thread may still be at it, which cannot be stopped
            suspicion = Suspicion.OVERRAN if isinstance(left, Overran) else Suspicion.ABANDONED
            return tries.postponed(self.clock(), suspicion)
        except (AssetError, QuarantineUnavailable) as error:
            wait = None if isinstance(error, OWN_TROUBLE) else self.retries.wait(tries.origin + 1, error)
            if wait is None:
                return tries.failed(error)
        except Exception as error:  # the top of an asset's work: a fault of ours must not take 63 neighbours with it
            log.exception("asset_failed_unexpectedly", batch_id=plan.batch_id, position=tries.asset.position)
            return tries.failed(error)
        tries.origin += 1
        return tries.postponed(self.clock() + wait) if wait > self.retries.patience else wait

    async def _attempt(self, tries: Attempts, plan: RenditionPlan, known: PreviousResult | None) -> Succeeded:
        fetched, lease = await self.fetching.fetch(tries.asset.origin_url, plan.batch_id, known)
        with lease:
            if fetched is not None:
                return await self._compressed(tries, plan, fetched)
        taken_over = await self._taken_over(tries, plan, known) if known else None
        return taken_over or await self._attempt(tries, plan, None)

    async def _compressed(self, tries: Attempts, plan: RenditionPlan, fetched: Fetched) -> Succeeded:
        asset = tries.asset
        compressed = await tries.at_quarantine(
            partial(self.codec.compress, fetched.body, plan.specs, key=plan.batch_id, suspect=asset.is_suspect)
        )
        renditions = [
            await self._store(rendition, spec, tries, plan)
            for rendition, spec in zip(compressed.renditions, plan.specs, strict=True)
        ]
        return Succeeded(
            tries.asset,
            tries.origin + 1,
            input_format=compressed.input_format,
            width=compressed.width,
            height=compressed.height,
            input_bytes=len(fetched.body),
            renditions=tuple(renditions),
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            final_url_hash=fetched.final_url_hash,
            reuse_hash=plan.hashes.of(asset.origin_url),
        )

    async def _taken_over(self, tries: Attempts, plan: RenditionPlan, known: PreviousResult) -> Succeeded | None:
        """Renditions of our own from those of an earlier batch; None when they have been deleted since."""
        renditions = []
        asset = tries.asset
        for old in known.renditions:
            key = plan.key(asset, name=old["name"], data=old["key"].encode(), kind=old["format"])
            if not await tries.at_storage(partial(self.storage.copy, old["key"], key)):
                return None
            renditions.append({**old, "key": key, "action": "reused"})
        return Succeeded(
            tries.asset,
            tries.origin + 1,
            input_format=known.input_format,
            width=known.width,
            height=known.height,
            input_bytes=known.input_bytes,
            renditions=tuple(renditions),
            etag=known.etag,
            last_modified=known.last_modified,
            final_url_hash=known.final_url_hash,
            reuse_hash=known.reuse_hash,
        )

    async def _store(self, rendition: Rendition, spec: Spec, tries: Attempts, plan: RenditionPlan) -> dict[str, object]:
        key = plan.key(tries.asset, name=spec.name, data=rendition.data, kind=rendition.format)
        put = partial(self.storage.put, key, rendition.data, media_type=OUTPUT_FORMATS[rendition.format].media_type)
        await tries.at_storage(put)
        return {
            "name": spec.name,
            "key": key,
            "format": rendition.format,
            "width": rendition.width,
            "height": rendition.height,
            "bytes": len(rendition.data),
            "action": rendition.action,
        }

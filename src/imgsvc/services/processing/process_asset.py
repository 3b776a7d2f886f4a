"""Processes one asset from its URL to its stored renditions: fetch, compress, store."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.status import Suspicion
from imgsvc.errors import (
    AssetError,
    CpuTimeExceeded,
    DecodeAbandoned,
    SandboxUnavailable,
    WorkerCrash,
)
from imgsvc.logs import get_logger
from imgsvc.services.clock import Clock
from imgsvc.services.codec.pool import CodecPool
from imgsvc.services.ports import Fetched, ReadableStorage
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Succeeded
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.processing.retry_policy import OWN_ERRORS, Attempts, RetryLater, RetryPolicy
from imgsvc.services.processing.store_rendition import reuse_rendition, store_rendition
from imgsvc.services.processing.worker_stats import WorkerStats
from imgsvc.services.throttling.host_visit import HostGivenUp, HostPaused, HostReservation

log = get_logger(__name__)

MAX_CRASHES = 10
"""Crashed runs of an asset after which it fails. After the first, its image is compressed in the sandbox, so only an
asset that kills workers even from there gets this far. The limit is high so that no harmless asset reaches it."""


@dataclass(frozen=True, slots=True)
class AssetProcessor:
    """The services that all lanes of a worker process share to process assets."""

    fetching: Fetching
    storage: ReadableStorage
    codec: CodecPool
    retries: RetryPolicy
    clock: Clock
    stats: WorkerStats = field(default_factory=WorkerStats)

    async def process(
        self,
        asset: Claimed,
        plan: RenditionPlan,
        previous: PreviousResult | None = None,
        room: HostReservation | None = None,
    ) -> Outcome:
        """Process one claimed asset until it has succeeded, failed, or must wait; when cancelled, postpone it.

        `previous` is a result of the same plan. If it may be reused, the fetch is conditional: a 304 reuses its
        renditions. `room` is for the fetch. Nothing waits here for an origin: an attempt that may be repeated is
        postponed.
        """
        try:
            outcome = await self._process(asset, plan, previous, room)
        finally:
            if room:
                room.release()
        self.stats.count(outcome)
        return outcome

    async def _process(
        self, asset: Claimed, plan: RenditionPlan, previous: PreviousResult | None, room: HostReservation | None
    ) -> Outcome:
        if asset.lost >= MAX_CRASHES:
            return Failed(asset, asset.attempts, WorkerCrash())
        attempts = Attempts(asset, self.retries)
        try:
            return await self._attempt(attempts, plan, previous, room)
        except asyncio.CancelledError:
            # Handed back: the current attempt does not count, but failed ones do. Otherwise a batch could stay open for
            # ever if its origin or the storage were so slow that no lane lived long enough for the last attempt.
            return attempts.postponed(self.clock())
        except Exception as reason:  # a bug must not fail the 63 other assets of the lane
            return self._ending(attempts, plan, reason)

    def _ending(self, attempts: Attempts, plan: RenditionPlan, reason: Exception) -> Outcome:
        """Return the outcome of a run that `reason` ended."""
        match reason:
            case HostPaused():
                return self._wait_for_host(attempts, plan, reason)
            case RetryLater():
                return attempts.postponed(self.clock() + timedelta(seconds=reason.seconds))
            case DecodeAbandoned():  # nothing crashed, but a thread may still be running: it cannot be stopped
                overran = isinstance(reason, CpuTimeExceeded)
                return attempts.postponed(self.clock(), Suspicion.OVERRAN if overran else Suspicion.ABANDONED)
            case AssetError() | SandboxUnavailable():
                return self._retry(attempts, reason)
            case HostGivenUp():
                reason = reason.error
            case _:
                log.error(
                    "asset_failed_unexpectedly",
                    batch_id=plan.batch_id,
                    position=attempts.asset.position,
                    exc_info=reason,
                )
        return attempts.failed(reason)

    def _wait_for_host(self, attempts: Attempts, plan: RenditionPlan, pause: HostPaused) -> Outcome:
        """Postpone an asset whose host takes no request; give up once its batch has waited for long enough."""
        now = self.clock()
        if pause.error and now >= plan.give_up_at:
            return attempts.failed(pause.error)
        due_at = now + timedelta(seconds=pause.seconds)
        return attempts.postponed(min(due_at, plan.give_up_at) if now < plan.give_up_at else due_at)

    def _retry(self, attempts: Attempts, error: AssetError | SandboxUnavailable) -> Outcome:
        """Postpone an asset after an attempt that failed, or fail it after the last."""
        wait = None if isinstance(error, OWN_ERRORS) else self.retries.wait(attempts.origin + 1, error)
        if wait is None:
            return attempts.failed(error)
        attempts.origin += 1
        return attempts.postponed(self.clock() + wait)

    async def _attempt(
        self,
        attempts: Attempts,
        plan: RenditionPlan,
        previous: PreviousResult | None,
        room: HostReservation | None = None,
    ) -> Succeeded:
        reusable = previous if plan.may_reuse(previous) else None
        fetched, reservation = await self.fetching.fetch(attempts.asset.origin_url, plan.flow, reusable, room)
        with reservation:
            if fetched is not None:
                return await self._compress(attempts, plan, fetched, previous)
        reused = await self._reuse(attempts, plan, reusable) if reusable else None
        return reused or await self._attempt(attempts, plan, None)

    async def _compress(
        self, attempts: Attempts, plan: RenditionPlan, fetched: Fetched, previous: PreviousResult | None
    ) -> Succeeded:
        asset = attempts.asset
        compressed = await attempts.at_codec(
            partial(self.codec.compress, fetched.body, plan.specs, flow=plan.flow, suspect=asset.is_suspect)
        )
        renditions = [
            await store_rendition(rendition, spec, attempts, plan, previous, storage=self.storage)
            for rendition, spec in zip(compressed.renditions, plan.specs, strict=True)
        ]
        return Succeeded(
            attempts.asset,
            attempts.origin + 1,
            input_format=compressed.input_format,
            width=compressed.width,
            height=compressed.height,
            input_bytes=len(fetched.body),
            renditions=tuple(renditions),
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            final_url_hash=fetched.final_url_hash,
            reuse_hash=plan.hashes.for_url(asset.origin_url),
        )

    async def _reuse(self, attempts: Attempts, plan: RenditionPlan, previous: PreviousResult) -> Succeeded | None:
        """Refer to the renditions of an earlier batch; return None when they are not in the storage any more."""
        renditions = []
        for old in previous.renditions:
            found = await reuse_rendition(old, attempts, plan, storage=self.storage)
            if found is None:
                return None
            renditions.append(found)
        return Succeeded(
            attempts.asset,
            attempts.origin + 1,
            input_format=previous.input_format,
            width=previous.width,
            height=previous.height,
            input_bytes=previous.input_bytes,
            renditions=tuple(renditions),
            etag=previous.etag,
            last_modified=previous.last_modified,
            final_url_hash=previous.final_url_hash or "",
            reuse_hash=previous.reuse_hash,
        )

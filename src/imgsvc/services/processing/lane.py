"""A lane: one job that processes a batch alongside other lanes, claiming assets as it has free slots."""

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as batch_queries
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import DatabaseUnavailable, QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.batches.finish import Retention, announce
from imgsvc.services.clock import Clock
from imgsvc.services.ports import LaneQueue
from imgsvc.services.processing.flush import Flushed, Run, flush
from imgsvc.services.processing.in_flight import InFlight
from imgsvc.services.processing.outcomes import Outcome, Postponed
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes
from imgsvc.services.wakeups import wake_lane

log = get_logger(__name__)

FINAL_FLUSH_TIMEOUT = 5.0  # seconds, for a lane that is being cancelled


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """The limits on the age of a lane and the assets it holds; all times in seconds."""

    assets: int = 64  # slots for assets in flight; a conditional fetch takes a quarter of one
    flush_assets: int = 32
    flush_interval: float = 0.5
    idle_flush_interval: float = 5  # with nothing finished: a cancelled batch must not keep fetching from slow origins
    lease: float = 60
    yield_after: float = 5  # the age at which it ends if other lanes are waiting
    lifetime: float = 40  # the age at which it stops claiming in any case
    hand_back_after: float = 50  # the age at which it hands back what is still in flight, well before the lease ends
    drain: float = 15  # the time that a stopping process gives the assets in flight


@dataclass(slots=True)
class Lane:
    """One run of a lane; `stopping` is set when the process is asked to stop, `reuse` allows earlier renditions."""

    plan: RenditionPlan
    reuse: bool
    sessions: Sessions
    queue: LaneQueue
    processor: AssetProcessor
    retention: Retention
    clock: Clock
    policy: LanePolicy
    stopping: asyncio.Event
    api_key_id: str = ""
    number: int = 0
    has_woken_next: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: float = field(default_factory=monotonic)
    in_flight: InFlight = field(init=False)
    finished: list[Outcome] = field(default_factory=list)
    claiming: bool = True
    draining: bool = False
    hand_back_at: float = 0
    queue_checked_at: float = 0

    def __post_init__(self) -> None:
        self.in_flight = InFlight(self.policy.assets)

    async def run(self) -> bool:
        """Process assets until none is due or the lane must end; return True when assets are still due."""
        self.hand_back_at = self.started_at + self.policy.hand_back_after
        try:
            while True:
                await self._decide_whether_to_claim()
                flushed = await self._flush()
                if flushed is None:  # cancelled, deleted or finished elsewhere
                    return False
                if not self.in_flight and not self.finished and (not flushed.claimed or not self.claiming):
                    return flushed.more_due
                await self._wait_for_a_flush()
                if monotonic() >= self.hand_back_at:
                    self.claiming = False
                    await self._hand_back()
        except BaseException:  # this lane is being cancelled, or the database is unavailable
            await _run_to_completion(self._leave())
            raise

    async def _decide_whether_to_claim(self) -> None:
        age = monotonic() - self.started_at
        if self.stopping.is_set() and not self.draining:
            self.draining, self.claiming = True, False
            self.hand_back_at = min(self.hand_back_at, monotonic() + self.policy.drain)
        if age >= self.policy.lifetime:
            self.claiming = False
        elif self.claiming and age >= self.policy.yield_after and monotonic() - self.queue_checked_at >= 1:
            self.queue_checked_at = monotonic()
            with suppress(QueueUnavailable):
                self.claiming = await self.queue.waiting() == 0

    async def _flush(self) -> Flushed | None:
        """Write the finished outcomes, and claim and start as many assets as there are slots for."""
        flushed = await self._write()
        if flushed is None:
            await self.in_flight.cancel()
            return None
        self.processor.codec.quarantine(self.plan.batch_id, quarantined=flushed.quarantined)
        self.in_flight.note_claim(assets=len(flushed.claimed), conditional=len(flushed.previous))
        for asset in flushed.claimed:
            previous = flushed.previous.get(asset.position)
            work = self.processor.process(asset, self.plan, previous)
            self.in_flight.start(asset, work, conditional=previous is not None)
        if self.claiming and flushed.more_due and not self.has_woken_next:
            self.has_woken_next = True
            await wake_lane(self.plan.batch_id, self.api_key_id, queue=self.queue, lane=self.number + 1)
        return flushed

    async def _write(self, *, last: bool = False) -> Flushed | None:
        """Write the finished outcomes and claim assets for the free slots; the `last` time, claim nothing."""
        plan, lease = self.plan, timedelta(seconds=self.policy.lease)
        run = Run(plan.batch_id, plan.round, self.token, lease, plan.hashes if self.reuse else None)
        outcomes, self.finished = self.finished, []
        try:
            flushed = await flush(
                run,
                outcomes,
                claim=self.in_flight.to_claim if self.claiming and not last else 0,
                in_flight=self.in_flight.positions,
                last=last,
                sessions=self.sessions,
                retention=self.retention,
                clock=self.clock,
            )
        except BaseException:
            self.finished = outcomes + self.finished
            raise
        if flushed and flushed.ended:
            await announce(flushed.ended, queue=self.queue)
        return flushed

    async def _wait_for_a_flush(self) -> None:
        """Wait until enough has finished, the flush interval has passed, or the lane must check its batch."""
        flush_at = min(self.hand_back_at, monotonic() + self.policy.idle_flush_interval)
        while self.in_flight and len(self.finished) < self.policy.flush_assets:
            self.finished += await self.in_flight.ended(within=min(max(0.0, flush_at - monotonic()), 1.0))
            if self.finished:  # the interval counts from the first of them
                flush_at = min(flush_at, monotonic() + self.policy.flush_interval)
            if monotonic() >= flush_at or (self.stopping.is_set() and not self.draining):
                return

    async def _hand_back(self) -> None:
        """Stop the tasks in flight; the current attempts do not count, and any run may claim the assets at once."""
        for work, asset in (await self.in_flight.cancel()).items():
            begun = not work.cancelled()  # a task cancelled before its first step could not postpone its asset
            self.finished.append(work.result() if begun else Postponed(asset, asset.attempts, self.clock()))

    async def _leave(self) -> None:
        """Hand everything back within `FINAL_FLUSH_TIMEOUT`; claim and start nothing more."""
        await self._hand_back()
        try:
            async with asyncio.timeout(FINAL_FLUSH_TIMEOUT):
                await self._write(last=True)
        except (DatabaseUnavailable, TimeoutError):  # the leases expire
            log.warning("hand_back_failed", batch_id=self.plan.batch_id, assets=len(self.finished))


async def _run_to_completion(ending: Coroutine[Any, Any, None]) -> None:
    """Await `ending` even if the caller is cancelled again in the meantime."""
    task = asyncio.create_task(ending)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


async def work(  # noqa: PLR0913
    batch_id: str,
    *,
    sessions: Sessions,
    queue: LaneQueue,
    processor: AssetProcessor,
    retention: Retention,
    clock: Clock,
    policy: LanePolicy,
    stopping: asyncio.Event,
    lane: int = 0,
) -> bool:
    """Process a batch alongside other lanes; return True when this lane ended although assets are still due.

    Any number of lanes may process a batch at once, in any process: claims keep them apart.

    Raises:
        DatabaseUnavailable: other runs can claim the assets once the leases have expired.
    """
    async with sessions.read() as session:
        batch = await batch_queries.get(session, batch_id)
    if batch is None:
        return False
    specs = [Spec.model_validate(spec) for spec in batch.specs]
    plan = RenditionPlan(batch_id, batch.round, specs, ReuseHashes(batch.api_key_id, specs))
    parts = (plan, not batch.refresh, sessions, queue, processor, retention, clock, policy, stopping)
    return await Lane(*parts, api_key_id=batch.api_key_id, number=lane).run()

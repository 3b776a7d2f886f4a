"""A lane: one job that works off a batch beside a few others, claiming assets as it has room."""

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
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.outcomes import Outcome, Postponed
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes

log = get_logger(__name__)

_LEAVE_WITHIN = 5.0
"""Seconds for the last flush of a lane that is being cancelled."""


@dataclass(slots=True)
class Lane:
    """One run of a lane; `stopping` is set when the process is asked to stop."""

    plan: RenditionPlan
    reuse: bool
    """Whether what was made before may be taken over."""
    sessions: Sessions
    queue: LaneQueue
    processor: AssetProcessor
    retention: Retention
    clock: Clock
    policy: LanePolicy
    stopping: asyncio.Event
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    born: float = field(default_factory=monotonic)
    in_flight: InFlight = field(init=False)
    finished: list[Outcome] = field(default_factory=list)
    claiming: bool = True
    draining: bool = False
    hand_back_at: float = 0
    crowd_asked_at: float = 0

    def __post_init__(self) -> None:
        self.in_flight = InFlight(self.policy.assets)

    async def run(self) -> bool:
        """Work until nothing is due or it is time to make place; True when assets are still due."""
        self.hand_back_at = self.born + self.policy.hand_back_after
        try:
            while True:
                await self._decide_whether_to_go_on()
                flushed = await self._flush()
                if flushed is None:  # cancelled, deleted or finished elsewhere
                    return False
                if not self.in_flight and not self.finished and (not flushed.claimed or not self.claiming):
                    return flushed.more_due
                await self._wait_for_a_flush()
                if monotonic() >= self.hand_back_at:
                    self.claiming = False
                    await self._hand_back()
        except BaseException:  # we are being cancelled, or the database is gone for long
            await _to_its_end(self._leave())
            raise

    async def _decide_whether_to_go_on(self) -> None:
        age = monotonic() - self.born
        if self.stopping.is_set() and not self.draining:
            self.draining, self.claiming = True, False
            self.hand_back_at = min(self.hand_back_at, monotonic() + self.policy.drain)
        if not self.claiming:
            return
        if age >= self.policy.lifetime:
            self.claiming = False
        elif age >= self.policy.yield_after and monotonic() - self.crowd_asked_at >= 1:
            self.crowd_asked_at = monotonic()
            self.claiming = not await self._others_wait()

    async def _others_wait(self) -> bool:
        try:
            return await self.queue.waiting() > 0
        except QueueUnavailable:
            return False

    async def _flush(self) -> Flushed | None:
        """Write what is finished, and claim and start what there is room for."""
        flushed = await self._write()
        if flushed is None:
            await self.in_flight.cancel()
            return None
        self.processor.codec.keep_apart(self.plan.batch_id, apart=flushed.apart)
        self.in_flight.note_claim(assets=len(flushed.claimed), known=len(flushed.known))
        for asset in flushed.claimed:
            known = flushed.known.get(asset.position)
            self.in_flight.start(asset, self.processor.process(asset, self.plan, known), known=known is not None)
        return flushed

    async def _write(self, *, last: bool = False) -> Flushed | None:
        """Write what is finished and claim what there is room for; the `last` time, nothing is claimed."""
        plan, lease = self.plan, timedelta(seconds=self.policy.lease)
        run = Run(plan.batch_id, plan.round, self.token, lease, plan.hashes if self.reuse else None)
        outcomes, self.finished = self.finished, []
        try:
            flushed = await flush(
                run,
                outcomes,
                claim=self.in_flight.room if self.claiming and not last else 0,
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
        """Until enough is finished, or something is and the interval has passed, or the lane has to look up."""
        look_up_at = min(self.hand_back_at, monotonic() + self.policy.look_up_after)
        while self.in_flight and len(self.finished) < self.policy.flush_assets:
            timeout = min(max(0.0, look_up_at - monotonic()), 1.0)
            self.finished += await self.in_flight.ended(within=timeout)
            if self.finished:  # the first of them counts
                look_up_at = min(look_up_at, monotonic() + self.policy.flush_interval)
            if monotonic() >= look_up_at or (self.stopping.is_set() and not self.draining):
                return

    async def _hand_back(self) -> None:
        """Stop what is in flight; the attempts under way do not count, and anyone may take the assets at once."""
        for work, asset in (await self.in_flight.cancel()).items():
            # cancelled: before its first step, so that it could not even postpone itself
            begun = not work.cancelled()
            self.finished.append(work.result() if begun else Postponed(asset, asset.attempts, self.clock()))

    async def _leave(self) -> None:
        """Hand everything back, in a few seconds; nothing is claimed or started any more."""
        await self._hand_back()
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await self._write(last=True)
        except (DatabaseUnavailable, TimeoutError):  # the leases run out
            log.warning("hand_back_failed", batch_id=self.plan.batch_id, assets=len(self.finished))


async def _to_its_end(ending: Coroutine[Any, Any, None]) -> None:
    """Await `ending` however often the caller is cancelled meanwhile."""
    task = asyncio.create_task(ending)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


async def work(
    batch_id: str,
    *,
    sessions: Sessions,
    queue: LaneQueue,
    processor: AssetProcessor,
    retention: Retention,
    clock: Clock,
    policy: LanePolicy,
    stopping: asyncio.Event,
) -> bool:
    """Work off a batch beside other lanes; True when this lane ended although assets are still due.

    May run any number of times, anywhere, at the same time: claims keep the runs apart.

    Raises:
        DatabaseUnavailable: the database stayed away; leases bring the assets back.
    """
    async with sessions.read() as session:
        batch = await batch_queries.get(session, batch_id)
    if batch is None:
        return False
    specs = [Spec.model_validate(spec) for spec in batch.specs]
    plan = RenditionPlan(batch_id, batch.round, specs, ReuseHashes(batch.api_key_id, specs))
    lane = Lane(plan, not batch.refresh, sessions, queue, processor, retention, clock, policy, stopping)
    return await lane.run()

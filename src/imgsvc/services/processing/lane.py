"""A lane: one job that processes a batch alongside other lanes, claiming assets as it has free slots."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from imgsvc.db.engine import Sessions
from imgsvc.errors import DatabaseUnavailable, QueueUnavailable
from imgsvc.logs import get_logger
from imgsvc.services.batches.finish import Retention, announce
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import LaneQueue
from imgsvc.services.processing.batch_hosts import BatchHosts, Reservations
from imgsvc.services.processing.flush import Flushed, Run, flush
from imgsvc.services.processing.in_flight import InFlight, run_to_completion
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.outcomes import Outcome, Postponed
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.wakeups import wake_lane

log = get_logger(__name__)

FINAL_FLUSH_TIMEOUT = 5.0  # seconds, for a lane that is being cancelled


@dataclass(slots=True)
class Lane:
    """One run of a lane; `stopping` is set when the process is asked to stop."""

    number: int
    plan: RenditionPlan
    hosts: BatchHosts
    sessions: Sessions
    queue: LaneQueue
    processor: AssetProcessor
    retention: Retention
    clock: Clock
    policy: LanePolicy
    stopping: asyncio.Event
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: float = field(default_factory=monotonic)
    in_flight: InFlight = field(init=False)
    finished: list[Outcome] = field(default_factory=list)
    claiming: bool = True
    draining: bool = False
    next_woken_at: float = 0
    hand_back_at: float = 0
    queue_checked_at: float = 0

    def __post_init__(self) -> None:
        self.in_flight = InFlight(self.policy.assets)

    async def run(self) -> datetime | None:
        """Process assets until none can be claimed or the lane must end; return when it must run again, if ever."""
        self.hand_back_at = self.started_at + self.policy.hand_back_after
        try:
            while True:
                await self._decide_whether_to_claim()
                flushed = await self._flush()
                if flushed is None or flushed.ended:  # the batch has ended, here or elsewhere, or is being changed
                    await self.in_flight.cancel()
                    return None
                if not self.in_flight and not self.finished and (not flushed.claimed or not self.claiming):
                    return await self._next_run()
                if not (flushed.conditional and self.claiming and self.in_flight.to_claim):
                    await self._wait_for_a_flush()  # conditional fetches leave room that was reserved for them
                if monotonic() >= self.hand_back_at:
                    self.claiming = False
                    await self._hand_back()
        except BaseException:  # this lane is being cancelled, or the database is unavailable
            await run_to_completion(self._leave())
            raise

    async def _next_run(self) -> datetime | None:
        """Return when this lane must run again: at once if it ended early; else only the first lane does."""
        if not self.claiming:
            return self.clock()
        await self.hosts.refresh()
        look = self.hosts.next_look()
        if self.number == 0 or look is None:
            return look
        with suppress(QueueUnavailable):
            await self.queue.wake_lane(self.plan.batch_id, self.plan.api_key_id, at=look)
        return None

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
        """Write the finished outcomes, claim as many assets as there are slots and room at their hosts; start them."""
        reserved: Reservations = {}
        try:
            if self.claiming:
                reserved = await self.hosts.reserve(self.in_flight.to_claim)
            flushed = await self._write(claim={number: len(fetches) for number, fetches in reserved.items()})
            if flushed is None:
                return None
            self.processor.codec.quarantine(self.plan.batch_id, quarantined=flushed.quarantined)
            self.claiming = self.claiming and not flushed.outdated  # the next run of this lane reads the plan again
            self._start(flushed, reserved)
        finally:
            for fetch in (fetch for fetches in reserved.values() for fetch in fetches):
                fetch.release()
        if self.claiming and flushed.claimed and not self.in_flight.to_claim:
            await self._wake_next()
        return flushed

    def _start(self, flushed: Flushed, reserved: Reservations) -> None:
        """Start the claimed assets with the fetches reserved for them; what is left over stays in `reserved`."""
        self.in_flight.note_claim(assets=len(flushed.claimed), conditional=flushed.conditional)
        claimed = Counter(asset.host_number for asset in flushed.claimed)
        for number, fetches in reserved.items():
            self.hosts.note_claimed(number, reserved=len(fetches), claimed=claimed[number])
        for asset in flushed.claimed:
            previous = flushed.previous.get(asset.position)
            fetch = free.pop() if (free := reserved.get(asset.host_number)) else None
            conditional = self.plan.may_reuse(previous)
            if fetch and fetch.units and conditional:
                fetch.set_conditional(True)
            work = self.processor.process(asset, self.plan, previous, fetch)
            self.in_flight.start(asset, work, conditional=conditional, at_end=fetch.release if fetch else None)

    async def _wake_next(self) -> None:
        """Wake the next lane: this one is full, and there may be more work than it can hold."""
        if monotonic() - self.next_woken_at >= self.policy.yield_after:
            self.next_woken_at = monotonic()
            await wake_lane(self.plan.batch_id, self.plan.api_key_id, lane=self.number + 1, queue=self.queue)

    async def _write(self, *, claim: Mapping[int, int], last: bool = False) -> Flushed | None:
        """Write the finished outcomes and claim assets; the `last` time, claim nothing."""
        run = Run(self.plan, self.token, timedelta(seconds=self.policy.lease))
        outcomes, self.finished = self.finished, []
        if any(isinstance(outcome, Postponed) for outcome in outcomes):
            self.hosts.note_postponed()
        try:
            flushed = await flush(
                run,
                outcomes,
                claim=claim,
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
        flush_at = min(self.hand_back_at, monotonic() + self._idle_flush_interval())
        enough = self.in_flight.enough_to_flush(self.policy.flush_assets)
        while self.in_flight and len(self.finished) < enough:
            self.finished += await self.in_flight.ended(within=min(max(0.0, flush_at - monotonic()), 1.0))
            if self.finished:  # the interval counts from the first of them
                flush_at = min(flush_at, monotonic() + self.policy.flush_interval)
            if monotonic() >= flush_at or (self.stopping.is_set() and not self.draining):
                return

    def _idle_flush_interval(self) -> float:
        """Return the seconds until the next flush if nothing finishes: sooner when more can be claimed before."""
        longest = self.policy.idle_flush_interval
        look = self.hosts.next_look() if self.claiming and self.in_flight.to_claim else None
        if look is None:
            return longest
        return min(longest, max(self.policy.flush_interval, (look - self.clock()).total_seconds()))

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
                await self._write(claim={}, last=True)
        except (DatabaseUnavailable, TimeoutError):  # the leases expire
            log.warning("hand_back_failed", batch_id=self.plan.batch_id, assets=len(self.finished))

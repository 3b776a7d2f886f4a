"""Workers of a simulation: real limiters and processors that claim assets from a list in memory, as lanes do."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.hosts import host_of
from imgsvc.domain.imaging.compress import Compressed
from imgsvc.services.codec.pool import CodecPool
from imgsvc.services.ports import Origin, ReadableStorage
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import NEVER, RenditionPlan, ReuseHashes
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_sharing import HostSharing
from support.memory_board import MemoryBoard
from support.virtual_time import virtual_monotonic, virtual_now

LANE_ASSETS = 64
FLUSH_ASSETS = 32
FLUSH_INTERVAL = 0.5
LONGEST_LOOK = 5.0
"""Seconds after which a lane looks at its batch again in any case."""


class InstantCodec:
    """A codec that makes no renditions: images are not what is simulated."""

    async def compress(self, *_: object, **__: object) -> Compressed:
        return Compressed("jpeg", 1, 1, ())


@dataclass
class Batch:
    """The assets of one batch, with the due time and the attempts of each."""

    urls: Sequence[str]
    flow: Flow = field(default_factory=lambda: Flow("key", "batch"))
    give_up_at: datetime = NEVER
    due: dict[int, datetime] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    ended: dict[int, Succeeded | Failed] = field(default_factory=dict)
    ended_at: list[float] = field(default_factory=list)
    began_at: float = 0
    hosts: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.ended) == len(self.urls)

    @property
    def succeeded(self) -> int:
        return sum(isinstance(outcome, Succeeded) for outcome in self.ended.values())

    @property
    def errors(self) -> Counter[str]:
        return Counter(outcome.error.code for outcome in self.ended.values() if isinstance(outcome, Failed))

    @property
    def seconds(self) -> float:
        return self.ended_at[-1] - self.began_at

    def begin(self) -> None:
        """Make all assets due now."""
        self.began_at = virtual_monotonic()
        self.hosts = [host_of(url) for url in self.urls]
        self.due = dict.fromkeys(range(len(self.urls)), virtual_now())

    def due_hosts(self) -> set[str]:
        return {self.hosts[position] for position, due_at in self.due.items() if due_at <= virtual_now()}

    def note(self, position: int, outcome: Outcome) -> None:
        self.attempts[position] = outcome.attempts
        if isinstance(outcome, Postponed):
            self.due[position] = outcome.due_at
        else:
            self.ended[position] = outcome
            self.ended_at.append(virtual_monotonic())


@dataclass
class Worker:
    """A worker process with one lane for each batch."""

    origin: Origin
    limiter: HostLimiter = field(default_factory=lambda: HostLimiter(maximum=64, clock=virtual_monotonic))

    def __post_init__(self) -> None:
        fetching = Fetching(self.origin, self.limiter, FairSemaphore(256), FairSemaphore(2**27, max_held_per_free=3))
        self.processor = AssetProcessor(
            fetching, cast("ReadableStorage", None), cast("CodecPool", InstantCodec()), RetryPolicy(), virtual_now
        )

    async def lane(self, batch: Batch) -> None:
        """Claim and process assets until the batch has ended."""
        plan = RenditionPlan(*batch.flow, 1, [], ReuseHashes("", []), folder="", give_up_at=batch.give_up_at)
        running: set[asyncio.Task[Outcome]] = set()
        while not batch.is_done:
            running = {task for task in running if not task.done()}
            await self.limiter.meet(batch.due_hosts())
            wait = self._claim(batch, plan, running)
            await _first_ended(running, within=wait)

    def _claim(self, batch: Batch, plan: RenditionPlan, running: set[asyncio.Task[Outcome]]) -> float:
        """Start as many due assets as there is room for; return the seconds until the next look."""
        now, wait = virtual_now(), LONGEST_LOOK
        due: dict[str, list[int]] = {}
        free = LANE_ASSETS - len(running)
        for position, due_at in batch.due.items() if free else ():
            if due_at <= now:
                due.setdefault(batch.hosts[position], []).append(position)
            else:
                wait = min(wait, (due_at - now).total_seconds())
        for host, positions in due.items():
            wanted = min(LANE_ASSETS - len(running), len(positions))
            rooms = self.limiter.reserve(host, batch.flow, wanted, overdue=now >= batch.give_up_at)
            if len(rooms) < wanted:
                wait = min(wait, self.limiter.wait(host, batch.flow))
            for position, room in zip(positions, rooms, strict=False):
                del batch.due[position]
                running.add(asyncio.create_task(self._process(batch, plan, position, room)))
        return max(wait, 0.05)

    async def _process(self, batch: Batch, plan: RenditionPlan, position: int, room: Any) -> Outcome:
        asset = Claimed(position, batch.urls[position], "slug", batch.attempts[position], 0)
        outcome = await self.processor.process(asset, plan, None, room)
        batch.note(position, outcome)
        return outcome


async def _first_ended(running: set[asyncio.Task[Outcome]], *, within: float) -> None:
    """Wait as a lane does: until enough tasks have ended, or for the flush interval after the first."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    before = len(running)
    while loop.time() < until - 1e-9:
        if not running:
            await asyncio.sleep(until - loop.time())
            return
        done, running = await asyncio.wait(
            running, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED
        )
        if done:
            until = min(until, loop.time() + FLUSH_INTERVAL)
        if before - len(running) >= FLUSH_ASSETS:
            return


async def simulate(
    origin: Origin,
    *batches: Batch,
    workers: int = 1,
    within: float = 3_600,
    board: MemoryBoard | None = None,
    **options: Any,
) -> None:
    """Process the batches with this number of workers, which share what they know of hosts.

    It fails after `within` seconds.
    """
    board = board or MemoryBoard()
    shared = [HostSharing(board, f"worker-{number}", virtual_monotonic) for number in range(workers)]
    defaults: dict[str, Any] = {"maximum": 64, "clock": virtual_monotonic}
    crew = [Worker(origin, HostLimiter(**defaults | options, sharing=sharing)) for sharing in shared]
    for batch in batches:
        batch.begin()
    async with asyncio.timeout(within):
        sharing_tasks = [asyncio.create_task(sharing.run()) for sharing in shared]
        await asyncio.gather(*(worker.lane(batch) for worker in crew for batch in batches))
        for task in sharing_tasks:
            task.cancel()

"""Lanes as a worker runs them, and runs that crash with the assets they claimed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Any

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import api_keys as key_queries
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import NotModified
from imgsvc.services.job_queue import LaneQueue
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, Validators
from imgsvc.services.processing import flush as flushing
from imgsvc.services.processing import work as working
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.outcomes import Outcome
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes
from support.batches import ManualClock
from support.origin_server import image_bytes

FOLDER = "0123456789abcdef01234567"
"""The media folder of the API key."""
LEASE = 60.0


def fetching_with(processor: AssetProcessor, **changes: Any) -> AssetProcessor:
    """Return the same processor with these `changes` of its `Fetching`."""
    return replace(processor, fetching=replace(processor.fetching, **changes))


async def work(
    batch_id: str,
    resources: Resources,
    processor: AssetProcessor,
    *,
    queue: LaneQueue | None = None,
    stopping: asyncio.Event | None = None,
    **policy: Any,
) -> bool:
    """Call `work`, and return whether the lane must run again at once.

    `policy` changes the policy of a lane that flushes quickly and does not yield to others.
    """
    next_run = await working.work(
        batch_id,
        sessions=resources.sessions,
        queue=queue or resources.queue,
        processor=processor,
        retention=resources.retention,
        policy=LanePolicy(**{"flush_interval": 0.02, "lease": LEASE, "yield_after": LEASE, **policy}),
        stopping=stopping or asyncio.Event(),
    )
    return next_run is not None and next_run <= resources.clock()


async def work_until_ended(
    batch_id: str,
    resources: Resources,
    processor: AssetProcessor,
    clock: ManualClock,
    *,
    within: float = 60,
    **policy: Any,
) -> None:
    """Run lanes, a second of the clock apart, until the batch has ended; fail after `within` seconds of the clock."""
    for _ in range(int(within)):
        while await work(batch_id, resources, processor, **policy):
            pass
        async with resources.sessions.read() as session:
            batch = await batch_queries.get(session, batch_id)
        assert batch is not None
        if batch.status not in OPEN_BATCH:
            return
        clock.forward(1)
    raise AssertionError(f"not ended within {within} s: {batch}")


def plan(batch_id: str, round_number: int = 1) -> RenditionPlan:
    """Return the plan of a batch with default options."""
    specs = [Spec()]
    return RenditionPlan(LOCAL_KEY, batch_id, round_number, specs, ReuseHashes(LOCAL_KEY, specs), folder=FOLDER)


async def plan_of(batch_id: str, resources: Resources) -> RenditionPlan:
    """Return the plan of a batch as a lane reads it when it begins."""
    async with resources.sessions.read() as session:
        key = await key_queries.owner_of(session, batch_id)
    return replace(plan(batch_id), folder=str(key.media_folder), removals=key.removals)


async def flush(
    batch_id: str,
    resources: Resources,
    *,
    token: str,
    outcomes: Sequence[Outcome] = (),
    claim: int = 0,
    in_flight: Sequence[int] = (),
    round_number: int = 1,
) -> Sequence[Claimed]:
    """Flush once as the run `token` and return what it claimed. A run that never flushes again has crashed."""
    flushed = await flushing.flush(
        flushing.Run(plan(batch_id, round_number), token, timedelta(seconds=LEASE)),
        outcomes,
        claim={0: claim} if claim else {},
        in_flight=in_flight,
        sessions=resources.sessions,
        retention=resources.retention,
        clock=resources.clock,
    )
    return flushed.claimed if flushed else []


async def until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds; fail after 20 s."""
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.002)


@dataclass
class HeldOrigin:
    """An origin with the same image at every URL, which responds only when a test lets it."""

    waiting: list[asyncio.Event] = field(default_factory=list)

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        released = asyncio.Event()
        self.waiting.append(released)
        await released.wait()
        if validators:
            raise NotModified
        return Fetched(image_bytes(), etag='"1"', last_modified=None, final_url_hash="")

    def respond(self) -> None:
        waiting, self.waiting = self.waiting, []
        for released in waiting:
            released.set()

    async def respond_to(self, count: int) -> None:
        """Respond to exactly `count` requests, which a lane with nothing else to do must make at the same time."""
        await until(lambda: len(self.waiting) >= count)
        assert len(self.waiting) == count
        self.respond()

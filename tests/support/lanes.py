"""A lane as a worker runs it, and a run that dies with what it claimed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Any

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import Unchanged
from imgsvc.services.ports import Fetched, LaneQueue, MemoryBudget, Validators
from imgsvc.services.processing import flush as flushing
from imgsvc.services.processing import lane as lanes
from imgsvc.services.processing.outcomes import Outcome
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes
from support.origin_server import image_bytes

LEASE = 60.0


def fetching_with(processor: AssetProcessor, **changes: Any) -> AssetProcessor:
    """The same workshop with other `changes` of its `Fetching`."""
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
    """`lanes.work`; `policy` changes the policy of a lane that flushes quickly and makes no place for others."""
    return await lanes.work(
        batch_id,
        sessions=resources.sessions,
        queue=queue or resources.queue,
        processor=processor,
        retention=resources.retention,
        clock=resources.clock,
        policy=lanes.LanePolicy(**{"flush_interval": 0.02, "lease": LEASE, "yield_after": LEASE, **policy}),
        stopping=stopping or asyncio.Event(),
    )


def plan(batch_id: str) -> RenditionPlan:
    """The plainest."""
    specs = [Spec()]
    return RenditionPlan(batch_id, 1, specs, ReuseHashes(LOCAL_KEY, specs))


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
    """One flush of the run `token`: what it claimed. A run that never flushes again is one that died."""
    flushed = await flushing.flush(
        flushing.Run(batch_id, round_number, token, timedelta(seconds=LEASE)),
        outcomes,
        claim=claim,
        in_flight=in_flight,
        sessions=resources.sessions,
        retention=resources.retention,
        clock=resources.clock,
    )
    return flushed.claimed if flushed else []


async def until(condition: Callable[[], bool]) -> None:
    """Poll; a test that hangs says so after 20 s."""
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "it never came"
        await asyncio.sleep(0.002)


@dataclass
class HeldOrigin:
    """It has one image under every URL, and answers when it is let."""

    waiting: list[asyncio.Event] = field(default_factory=list)

    async def fetch(self, url: str, room: MemoryBudget, known: Validators | None = None) -> Fetched:
        let = asyncio.Event()
        self.waiting.append(let)
        await let.wait()
        if known:
            raise Unchanged
        return Fetched(image_bytes(), etag='"1"', last_modified=None, final_url_hash="")

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for let in waiting:
            let.set()

    async def answer_to(self, count: int) -> None:
        """To exactly so many, of which a lane with nothing else to do must ask all at one time."""
        await until(lambda: len(self.waiting) >= count)
        assert len(self.waiting) == count
        self.answer()

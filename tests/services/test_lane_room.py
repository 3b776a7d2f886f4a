"""How much a lane takes on at one time."""

import asyncio
from dataclasses import dataclass, field, replace

from batches_at_hand import HandClock, exact, submitted
from imgsvc.bootstrap import Resources
from imgsvc.errors import Unchanged
from imgsvc.services.assets import Workshop
from imgsvc.services.ports import Fetched, Room, Validators
from lanes_at_hand import until, work
from origin_server import picture

PLACES = 8


@dataclass
class HeldOrigin:
    """It has one picture under every URL, and answers when it is let."""

    waiting: list[asyncio.Event] = field(default_factory=list)

    async def fetch(self, url: str, room: Room, known: Validators | None = None) -> Fetched:
        let = asyncio.Event()
        self.waiting.append(let)
        await let.wait()
        if known:
            raise Unchanged
        return Fetched(picture(), etag='"1"', last_modified=None)

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for let in waiting:
            let.set()

    async def answer_to(self, count: int) -> None:
        """To exactly so many, of which a lane with nothing else to do must ask all at one time."""
        await until(lambda: len(self.waiting) >= count)
        assert len(self.waiting) == count
        self.answer()


async def test_a_lane_asks_four_times_as_many_questions_as_it_fetches_pictures(
    parts: Resources, workshop: Workshop
) -> None:
    origin = HeldOrigin()
    bench = replace(workshop, origin=origin)
    urls = [f"http://127.0.0.1/{number}.jpg" for number in range(5 * PLACES)]
    assert isinstance(parts.clock, HandClock)

    batch = await submitted(parts, urls)
    lane = asyncio.create_task(work(batch.id, parts, bench, assets=PLACES))
    for _ in range(5):
        await origin.answer_to(PLACES)
    await lane
    await exact(parts.sessions, batch.id)

    parts.clock.forward(1)
    batch = await submitted(parts, urls)
    lane = asyncio.create_task(work(batch.id, parts, bench, assets=PLACES))
    await origin.answer_to(PLACES)
    await origin.answer_to(4 * PLACES)
    await lane
    await exact(parts.sessions, batch.id)

"""Fetching waits for memory where nobody waits behind it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from imgsvc.errors import BudgetExhausted, NotAnImage
from imgsvc.services.ports import Fetched, MemoryBudget, Validators
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.lanes import until

MIB = 2**20


@dataclass
class SizedOrigin:
    """Its bodies have `size` bytes, which it has to have room for."""

    size: int = 10
    asked: list[str] = field(default_factory=list)

    async def fetch(self, url: str, room: MemoryBudget, known: Validators | None = None) -> Fetched:
        self.asked.append(url)
        if not room.grow(self.size):
            raise BudgetExhausted(self.size)
        return Fetched(bytes(self.size), None, None, "")


def fetching(origin: SizedOrigin, memory: FairSemaphore) -> Fetching:
    """One fetch at a time, of all and of each host."""
    return Fetching(origin, HostLimiter(maximum=1), FairSemaphore(1), memory)


async def test_who_waits_for_memory_keeps_no_place_at_the_host() -> None:
    memory, origin = FairSemaphore(4 * MIB, hoard=3), SizedOrigin()
    fetches = fetching(origin, memory)
    held = await memory.acquire("hog", 3 * MIB)
    waiting = [asyncio.create_task(fetches.fetch(f"http://shop.example/{n}", "hog", None)) for n in range(3)]
    await until(lambda: memory.waiting("hog") == 3)
    fetched, lease = await fetches.fetch("http://shop.example/small", "other", None)
    assert fetched is not None
    assert origin.asked == ["http://shop.example/small"]
    lease.release()
    held.release()
    for _, lease in await asyncio.gather(*waiting):
        lease.release()
    assert memory.idle


async def test_a_body_larger_than_thought_is_fetched_when_there_is_room() -> None:
    memory, origin = FairSemaphore(4 * MIB, hoard=3), SizedOrigin(3 * MIB)
    fetches = fetching(origin, memory)
    held = await memory.acquire("other", 2 * MIB)
    large = asyncio.create_task(fetches.fetch("http://shop.example/large", "batch", None))
    await until(lambda: memory.waiting("batch") == 1)
    held.release()
    fetched, lease = await large
    assert fetched is not None
    assert len(fetched.body) == 3 * MIB
    assert origin.asked == ["http://shop.example/large"] * 2
    assert memory.used == 3 * MIB
    lease.release()
    assert memory.idle


async def test_whatever_ends_a_fetch_gives_the_memory_back() -> None:
    memory = FairSemaphore(4 * MIB, hoard=3)

    class Broken(SizedOrigin):
        async def fetch(self, url: str, room: MemoryBudget, known: Validators | None = None) -> Fetched:
            raise NotAnImage

    with pytest.raises(NotAnImage):
        await fetching(Broken(), memory).fetch("http://shop.example/1", "batch", None)
    assert memory.idle
    held = await memory.acquire("batch", 4 * MIB - 1)
    waiting = asyncio.create_task(fetching(SizedOrigin(), memory).fetch("http://shop.example/1", "batch", None))
    await until(lambda: memory.waiting("batch") == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    held.release()
    assert memory.idle

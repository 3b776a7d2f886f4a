"""While a fetch waits for memory, it blocks no other fetch."""

import asyncio
from dataclasses import dataclass, field

import pytest

from imgsvc.errors import BudgetExhausted, NotAnImage
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, Validators
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.lanes import until
from support.semaphores import flow

MIB = 2**20


@dataclass
class SizedOrigin:
    """An origin whose bodies have `size` bytes, which must fit in the memory budget."""

    size: int = 10
    requested: list[str] = field(default_factory=list)

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        self.requested.append(url)
        if not budget.grow(self.size):
            raise BudgetExhausted(self.size)
        return Fetched(bytes(self.size), None, None, "")


def fetching(origin: SizedOrigin, memory: FairSemaphore) -> Fetching:
    """Return a fetching that allows one fetch at a time."""
    return Fetching(origin, HostLimiter(maximum=1), FairSemaphore(1), memory)


async def test_a_fetch_that_waits_for_memory_holds_no_slot_of_its_host() -> None:
    memory, origin = FairSemaphore(4 * MIB, max_held_per_free=3), SizedOrigin()
    fetches = fetching(origin, memory)
    held = await memory.acquire(flow("hog"), 3 * MIB)
    waiting = [asyncio.create_task(fetches.fetch(f"http://shop.example/{n}", flow("hog"), None)) for n in range(3)]
    await until(lambda: memory.waiting(flow("hog")) == 3)
    fetched, reservation = await fetches.fetch("http://shop.example/small", flow("other"), None)
    assert fetched is not None
    assert origin.requested == ["http://shop.example/small"]
    reservation.release()
    held.release()
    for _, reservation in await asyncio.gather(*waiting):
        reservation.release()
    assert memory.idle


async def test_a_body_larger_than_expected_is_fetched_again_when_memory_is_free() -> None:
    memory, origin = FairSemaphore(4 * MIB, max_held_per_free=3), SizedOrigin(3 * MIB)
    fetches = fetching(origin, memory)
    held = await memory.acquire(flow("other"), 2 * MIB)
    large = asyncio.create_task(fetches.fetch("http://shop.example/large", flow("batch"), None))
    await until(lambda: memory.waiting(flow("batch")) == 1)
    held.release()
    fetched, reservation = await large
    assert fetched is not None
    assert len(fetched.body) == 3 * MIB
    assert origin.requested == ["http://shop.example/large"] * 2
    assert memory.used == 3 * MIB
    reservation.release()
    assert memory.idle


async def test_an_error_or_a_cancellation_releases_the_memory() -> None:
    memory = FairSemaphore(4 * MIB, max_held_per_free=3)

    class Broken(SizedOrigin):
        async def fetch(
            self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
        ) -> Fetched:
            raise NotAnImage

    with pytest.raises(NotAnImage):
        await fetching(Broken(), memory).fetch("http://shop.example/1", flow("batch"), None)
    assert memory.idle
    held = await memory.acquire(flow("batch"), 4 * MIB - 1)
    waiting = asyncio.create_task(fetching(SizedOrigin(), memory).fetch("http://shop.example/1", flow("batch"), None))
    await until(lambda: memory.waiting(flow("batch")) == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    held.release()
    assert memory.idle

"""A gate that grows and shrinks, and leases that do."""

from contextlib import suppress

import pytest

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from support.semaphores import Line, settled


async def test_a_gate_that_grows_lets_waiters_in() -> None:
    semaphore = FairSemaphore(1)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    await line.join("b", "b")
    semaphore.resize(2)
    await settled()
    assert line.served == ["b"]
    holder.release()


async def test_a_gate_that_shrinks_takes_nothing_back_and_waits_for_what_is_out() -> None:
    semaphore = FairSemaphore(4)
    leases = [await semaphore.acquire("a") for _ in range(4)]
    semaphore.resize(1)
    line = Line(semaphore)
    await line.join("b", "b")
    for lease in leases[:3]:
        lease.release()
        await settled()
        assert line.served == []
    leases[3].release()
    await settled()
    assert line.served == ["b"]


async def test_a_waiter_that_asked_for_more_than_a_gate_that_shrank_has_still_comes_through() -> None:
    semaphore = FairSemaphore(4)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    await line.join("large", "b", 4)
    semaphore.resize(2)
    assert await line.drain(holder) == ["large"]
    assert semaphore.idle


async def test_a_lease_grows_into_units_that_are_free_before_those_who_wait() -> None:
    semaphore = FairSemaphore(4)
    lease, other = await semaphore.acquire("a", 1), await semaphore.acquire("b", 2)
    assert lease.grow(2)
    assert lease.grow(1)  # it holds as many already
    assert not lease.grow(3)
    line = Line(semaphore)
    await line.join("c", "c", 4)
    other.release()
    assert lease.grow(3)
    assert not semaphore.try_take(2)
    lease.release()
    await settled()
    assert line.served == ["c"]


async def test_a_lease_that_shrinks_serves_the_others_and_one_released_twice_counts_once() -> None:
    semaphore = FairSemaphore(4)
    lease = await semaphore.acquire("a", 4)
    line = Line(semaphore)
    await line.join("b", "b", 3)
    lease.shrink(1)
    await settled()
    assert line.served == ["b"]
    lease.release()
    lease.release()
    assert semaphore.try_take(1)
    assert not semaphore.try_take(1)


async def test_a_lease_is_given_back_when_the_block_breaks() -> None:
    semaphore = FairSemaphore(1)
    with suppress(ZeroDivisionError), await semaphore.acquire("a"):
        raise ZeroDivisionError
    assert semaphore.idle


@pytest.mark.parametrize("size", [4, 5, 1_000])
async def test_a_lease_of_all_units_can_always_grow(size: int) -> None:
    semaphore = FairSemaphore(4)
    assert (await semaphore.acquire("a", 9)).grow(size)

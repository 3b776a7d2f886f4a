"""Semaphores and reservations that grow and shrink."""

from contextlib import suppress

import pytest

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from support.semaphores import Waiters, flow, settled


async def test_a_semaphore_that_grows_serves_waiters() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    await waiters.add("b", "b")
    semaphore.resize(2)
    await settled()
    assert waiters.served == ["b"]
    holder.release()


async def test_a_semaphore_that_shrinks_waits_until_held_units_are_released() -> None:
    semaphore = FairSemaphore(4)
    reservations = [await semaphore.acquire(flow("a")) for _ in range(4)]
    semaphore.resize(1)
    waiters = Waiters(semaphore)
    await waiters.add("b", "b")
    for reservation in reservations[:3]:
        reservation.release()
        await settled()
        assert waiters.served == []
    reservations[3].release()
    await settled()
    assert waiters.served == ["b"]


async def test_a_waiter_is_served_although_the_semaphore_shrank_below_its_request() -> None:
    semaphore = FairSemaphore(4)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    await waiters.add("large", "b", 4)
    semaphore.resize(2)
    assert await waiters.drain(holder) == ["large"]
    assert semaphore.idle


async def test_a_reservation_grows_into_free_units_ahead_of_waiters() -> None:
    semaphore = FairSemaphore(4)
    reservation, other = await semaphore.acquire(flow("a"), 1), await semaphore.acquire(flow("b"), 2)
    assert reservation.grow(2)
    assert reservation.grow(1)  # it already holds more
    assert not reservation.grow(3)
    waiters = Waiters(semaphore)
    await waiters.add("c", "c", 4)
    other.release()
    assert reservation.grow(3)
    assert not semaphore.try_take(2, flow("other"))
    reservation.release()
    await settled()
    assert waiters.served == ["c"]


async def test_a_reservation_that_shrinks_serves_waiters_and_can_be_released_twice() -> None:
    semaphore = FairSemaphore(4)
    reservation = await semaphore.acquire(flow("a"), 4)
    waiters = Waiters(semaphore)
    await waiters.add("b", "b", 3)
    reservation.shrink(1)
    await settled()
    assert waiters.served == ["b"]
    reservation.release()
    reservation.release()
    assert semaphore.try_take(1, flow("other"))
    assert not semaphore.try_take(1, flow("other"))


async def test_a_reservation_is_released_when_its_block_raises() -> None:
    semaphore = FairSemaphore(1)
    with suppress(ZeroDivisionError), await semaphore.acquire(flow("a")):
        raise ZeroDivisionError
    assert semaphore.idle


@pytest.mark.parametrize("size", [4, 5, 1_000])
async def test_a_reservation_of_all_units_can_always_grow(size: int) -> None:
    semaphore = FairSemaphore(4)
    assert (await semaphore.acquire(flow("a"), 9)).grow(size)

"""The semaphore is fair between batches."""

import asyncio

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from support.semaphores import Waiters, flow, settled


async def test_keys_are_served_round_robin_and_requests_of_a_key_in_order() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        await waiters.add(name, name[0])
    assert await waiters.drain(holder) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert semaphore.idle


async def test_a_large_request_is_not_starved_by_small_ones() -> None:
    semaphore = FairSemaphore(10)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("small"), 5)
    await waiters.add("large", "large", 10)
    await waiters.add("small", "small", 1)
    assert waiters.served == []  # the small one would fit
    assert await waiters.drain(holder) == ["large", "small"]


async def test_a_request_above_the_capacity_gets_all_units() -> None:
    semaphore = FairSemaphore(4)
    with await semaphore.acquire(flow("a"), 1_000):
        assert not semaphore.try_take(1, flow("other"))
    assert semaphore.idle


async def test_released_units_can_serve_several_waiters() -> None:
    semaphore = FairSemaphore(4)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"), 4)
    for name in ("b", "c", "d"):
        await waiters.add(name, name, 2)
    holder.release()
    await settled()
    assert waiters.served == ["b", "c"]


# -- cancellation -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_makes_way_for_the_others() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    cancelled = await waiters.add("first", "b")
    await waiters.add("second", "b")
    await waiters.add("third", "c")
    cancelled.cancel()
    await settled()
    del waiters.tasks["first"]
    assert await waiters.drain(holder) == ["second", "third"]
    assert semaphore.idle


async def test_a_cancelled_large_waiter_makes_way_for_a_smaller_one() -> None:
    semaphore = FairSemaphore(4)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"), 2)
    large = await waiters.add("large", "b", 4)
    await waiters.add("small", "c", 2)
    large.cancel()
    await settled()
    assert waiters.served == ["small"]
    holder.release()


async def test_a_waiter_cancelled_just_after_it_was_granted_releases_its_units() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    cancelled = await waiters.add("cancelled", "b")
    await waiters.add("next", "c")
    holder.release()  # it is granted, but its task has not run yet
    cancelled.cancel()
    await settled()
    assert waiters.served == ["next"]
    waiters.tasks["next"].result().release()
    assert semaphore.idle


async def test_units_released_just_after_a_cancellation_go_to_the_next_waiter() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("a"))
    cancelled = await waiters.add("cancelled", "b")
    await waiters.add("next", "b")
    cancelled.cancel()
    holder.release()  # it is cancelled, but its task has not run yet
    await settled()
    assert cancelled.cancelled()
    assert waiters.served == ["next"]
    waiters.tasks["next"].result().release()
    assert semaphore.idle


async def test_all_holders_and_waiters_can_be_cancelled_at_once() -> None:
    semaphore = FairSemaphore(3)

    async def hold(key: str) -> None:
        with await semaphore.acquire(flow(key), 2):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold(key)) for key in "aabbccab"]
    await settled()
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert semaphore.idle
    assert semaphore.try_take(3, flow("other"))


# -- keys that hold their units for long ------------------------------------------------------------------------------


async def test_one_key_leaves_a_quarter_of_the_units_to_others() -> None:
    semaphore = FairSemaphore(100, max_held_per_free=3)
    waiters = Waiters(semaphore)
    for number in range(100):
        await waiters.add(f"hog {number}", "hog")
    assert len(waiters.served) == 75
    for number in range(15):
        await waiters.add(f"late {number}", "late")
    assert len(waiters.served) == 90, "although 25 of the first key wait"
    assert not semaphore.try_take(11, flow("third")), "more than is free"
    assert semaphore.try_take(10, flow("third"))


async def test_some_units_are_left_however_many_keys_hold_much() -> None:
    semaphore = FairSemaphore(1_000, max_held_per_free=3)
    for key in ("a", "b", "c", "d"):
        while semaphore.try_take(1, flow(key)):
            pass
        assert semaphore.try_take(1, flow(f"late {key}"))


async def test_units_that_a_key_releases_can_go_to_the_same_key_again() -> None:
    semaphore = FairSemaphore(4, max_held_per_free=3)
    reservations = [await semaphore.acquire(flow("hog")) for _ in range(3)]
    waiters = Waiters(semaphore)
    await waiters.add("hog", "hog")
    assert waiters.served == []
    reservations[0].release()
    await settled()
    assert waiters.served == ["hog"]


async def test_the_first_request_of_a_key_may_take_all_units() -> None:
    semaphore = FairSemaphore(4, max_held_per_free=3)
    with await semaphore.acquire(flow("a"), 1_000):
        assert not semaphore.try_take(1, flow("b"))
    assert semaphore.idle

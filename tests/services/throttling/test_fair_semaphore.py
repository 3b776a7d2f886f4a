"""The gate that is fair between batches."""

import asyncio

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from support.semaphores import Line, settled


async def test_keys_are_served_in_turn_and_first_come_first_served_within_a_key() -> None:
    semaphore = FairSemaphore(1)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        await line.join(name, name[0])
    assert await line.drain(holder) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert semaphore.idle


async def test_a_large_request_is_not_overtaken_for_ever_by_small_ones() -> None:
    semaphore = FairSemaphore(10)
    line, holder = Line(semaphore), await semaphore.acquire("small", 5)
    await line.join("large", "large", 10)
    await line.join("small", "small", 1)
    assert line.served == []  # the small one would fit
    assert await line.drain(holder) == ["large", "small"]


async def test_more_than_there_is_means_all_that_there_is() -> None:
    semaphore = FairSemaphore(4)
    with await semaphore.acquire("a", 1_000):
        assert not semaphore.try_take(1)
    assert semaphore.idle


async def test_units_given_back_are_enough_for_several_waiters() -> None:
    semaphore = FairSemaphore(4)
    line, holder = Line(semaphore), await semaphore.acquire("a", 4)
    for name in ("b", "c", "d"):
        await line.join(name, name, 2)
    holder.release()
    await settled()
    assert line.served == ["b", "c"]


# -- cancellation -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_leaves_the_line_to_the_others() -> None:
    semaphore = FairSemaphore(1)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    cancelled = await line.join("first", "b")
    await line.join("second", "b")
    await line.join("third", "c")
    cancelled.cancel()
    await settled()
    del line.tasks["first"]
    assert await line.drain(holder) == ["second", "third"]
    assert semaphore.idle


async def test_a_large_waiter_that_is_cancelled_makes_way_for_what_fits() -> None:
    semaphore = FairSemaphore(4)
    line, holder = Line(semaphore), await semaphore.acquire("a", 2)
    large = await line.join("large", "b", 4)
    await line.join("small", "c", 2)
    large.cancel()
    await settled()
    assert line.served == ["small"]
    holder.release()


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_gives_its_units_back() -> None:
    semaphore = FairSemaphore(1)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    cancelled = await line.join("cancelled", "b")
    await line.join("next", "c")
    holder.release()  # its turn has come, but it has not run yet
    cancelled.cancel()
    await settled()
    assert line.served == ["next"]
    line.tasks["next"].result().release()
    assert semaphore.idle


async def test_a_turn_that_comes_just_after_the_cancellation_goes_to_the_next() -> None:
    semaphore = FairSemaphore(1)
    line, holder = Line(semaphore), await semaphore.acquire("a")
    cancelled = await line.join("cancelled", "b")
    await line.join("next", "b")
    cancelled.cancel()
    holder.release()  # the waiter is cancelled, but it has not run yet
    await settled()
    assert cancelled.cancelled()
    assert line.served == ["next"]
    line.tasks["next"].result().release()
    assert semaphore.idle


async def test_all_holders_and_waiters_can_be_cancelled_at_once() -> None:
    semaphore = FairSemaphore(3)

    async def hold(key: str) -> None:
        with await semaphore.acquire(key, 2):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold(key)) for key in "aabbccab"]
    await settled()
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert semaphore.idle
    assert semaphore.try_take(3)


# -- keys that keep what they have for long ---------------------------------------------------------------------------


async def test_of_a_gate_with_a_bound_one_key_leaves_a_quarter_to_the_next() -> None:
    semaphore = FairSemaphore(100, hoard=3)
    line = Line(semaphore)
    for number in range(100):
        await line.join(f"hog {number}", "hog")
    assert len(line.served) == 75
    for number in range(15):
        await line.join(f"late {number}", "late")
    assert len(line.served) == 90, "although 25 of the other wait"
    assert not semaphore.try_take(11, "third"), "more than there is"
    assert semaphore.try_take(10, "third")


async def test_however_many_keys_hold_much_something_is_left() -> None:
    semaphore = FairSemaphore(1_000, hoard=3)
    for key in ("a", "b", "c", "d"):
        while semaphore.try_take(1, key):
            pass
        assert semaphore.try_take(1, f"late {key}")


async def test_what_a_key_gives_back_is_its_own_again_or_another_ones() -> None:
    semaphore = FairSemaphore(4, hoard=3)
    leases = [await semaphore.acquire("hog") for _ in range(3)]
    line = Line(semaphore)
    await line.join("hog", "hog")
    assert line.served == []
    leases[0].release()
    await settled()
    assert line.served == ["hog"]


async def test_the_first_of_a_key_may_be_as_large_as_the_gate() -> None:
    semaphore = FairSemaphore(4, hoard=3)
    with await semaphore.acquire("a", 1_000):
        assert not semaphore.try_take(1, "b")
    assert semaphore.idle

"""The semaphore is fair between API keys, by weight, and between the batches of a key."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from support.semaphores import Waiters, flow, settled

BIG, SMALL = "key_big", "key_small"


async def take_turns(
    semaphore: FairSemaphore, flows: Sequence[Flow], *, turns: int, requests: int = 1, amount: int = 1
) -> list[Flow]:
    """Return the flows that get the next `turns` grants while all `flows` always have `requests` waiting ones."""
    holder = await semaphore.acquire(flow("holder"), semaphore.capacity)
    served: list[Flow] = []
    enough = asyncio.Event()

    async def use(one: Flow) -> None:
        while True:
            with await semaphore.acquire(one, amount):
                served.append(one)
                if len(served) == turns:
                    enough.set()
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(use(one)) for one in flows for _ in range(requests)]
    await settled()
    holder.release()
    await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert semaphore.idle
    return served[:turns]


# -- turns ------------------------------------------------------------------------------------------------------------


async def test_a_key_with_a_thousand_batches_gets_as_many_turns_as_one_with_a_single_batch() -> None:
    flows = [*(Flow(BIG, f"bat_{number}") for number in range(1_000)), Flow(SMALL, "bat_0")]
    served = await take_turns(FairSemaphore(1), flows, turns=100, requests=2)
    assert Counter(one.api_key_id for one in served) == {BIG: 50, SMALL: 50}


async def test_the_batches_of_a_key_are_served_in_turn() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("holder"))
    for name, batch in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")):
        await waiters.add(name, Flow(BIG, batch))
    await waiters.add("other", Flow(SMALL, "d"))
    assert await waiters.drain(holder) == ["a1", "other", "b1", "c1", "a2", "b2", "a3"]
    assert semaphore.idle


@pytest.mark.parametrize(("weight", "parts"), [(4, (80, 20)), (0.25, (20, 80)), (1, (50, 50))])
async def test_turns_follow_the_weights(weight: float, parts: tuple[int, int]) -> None:
    semaphore = FairSemaphore(1, weights={BIG: weight})
    served = await take_turns(semaphore, [Flow(BIG, "a"), Flow(SMALL, "b")], turns=100, requests=2)
    assert tuple(Counter(one.api_key_id for one in served)[key] for key in (BIG, SMALL)) == parts


async def test_turns_count_units_and_not_requests() -> None:
    semaphore = FairSemaphore(8)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("holder"), 8)
    for number in range(4):
        await waiters.add(f"large {number}", Flow(BIG, "a"), 8)
    for number in range(16):
        await waiters.add(f"small {number}", Flow(SMALL, "b"), 2)
    served = await waiters.drain(holder)
    assert sum(name.startswith("small") for name in served[: served.index("large 2")]) == 8


async def test_a_key_gets_no_credit_for_the_time_in_which_it_asked_for_nothing() -> None:
    semaphore = FairSemaphore(1)
    waiters, holder = Waiters(semaphore), await semaphore.acquire(flow("holder"))
    for number in range(30):
        await waiters.add(f"busy {number}", Flow(BIG, "a"))
    await waiters.add("first", Flow(SMALL, "b"))
    holder.release()
    for number in range(20):
        await settled()
        waiters.tasks[waiters.served[number]].result().release()
    await settled()
    for number in range(5):
        await waiters.add(f"late {number}", Flow(SMALL, "b"))
    for number in range(20, 30):
        waiters.tasks[waiters.served[number]].result().release()
        await settled()
    since = waiters.served[21:31]
    assert Counter(name.partition(" ")[0] for name in since) == {"busy": 5, "late": 5}
    assert since[:2] in (["late 0", "busy 20"], ["busy 20", "late 0"]), "none of the five comes at once"


# -- what a key holds -------------------------------------------------------------------------------------------------


def hold_all(semaphore: FairSemaphore, one: Flow) -> int:
    """Take single units for `one` until it may hold no more; return their number."""
    held = 0
    while semaphore.try_take(1, one):
        held += 1
    return held


async def test_a_key_with_one_batch_holds_three_quarters_and_with_twenty_four_fifths() -> None:
    assert hold_all(FairSemaphore(100, max_held_per_free=3), flow("a")) == 75
    semaphore = FairSemaphore(100, max_held_per_free=3)
    assert sum(hold_all(semaphore, Flow(BIG, f"bat_{number}")) for number in range(20)) == 80
    assert hold_all(semaphore, Flow(SMALL, "bat")) == 15


async def test_a_batch_leaves_some_of_its_key_s_units_to_another_batch_of_the_key() -> None:
    semaphore = FairSemaphore(1_000, max_held_per_free=3)
    assert [hold_all(semaphore, Flow(BIG, f"bat_{number}")) for number in range(3)] == [750, 47, 3]


async def test_what_keys_hold_follows_their_weights() -> None:
    semaphore = FairSemaphore(760, max_held_per_free=3, weights={BIG: 4})
    held = {one: hold_all(semaphore, one) for one in (Flow(SMALL, "b"), Flow(BIG, "a"))}
    for _ in range(760):  # what they hold is not taken away, but what they give back is shared out by weight
        for one in held:
            semaphore.release(1, one)
            held[one] -= 1
        for one in held:
            held[one] += hold_all(semaphore, one)
    assert list(held.values()) == [120, 480]


async def test_a_weight_changes_nothing_for_a_key_that_is_alone() -> None:
    for weight in (0.1, 1, 10):
        semaphore = FairSemaphore(100, max_held_per_free=3, weights={BIG: weight})
        assert hold_all(semaphore, Flow(BIG, "a")) == 75


async def test_a_request_that_its_key_may_not_have_does_not_hold_up_other_keys() -> None:
    semaphore = FairSemaphore(20, max_held_per_free=3)
    waiters = Waiters(semaphore)
    for number in range(20):
        await waiters.add(f"big {number}", Flow(BIG, f"bat_{number}"))
    assert len(waiters.served) == 16
    await waiters.add("small", Flow(SMALL, "bat"), 4)
    assert waiters.served[16:] == ["small"]
    waiters.tasks["small"].result().release()
    waiters.tasks["big 3"].result().release()
    await settled()
    assert waiters.served[17:] == ["big 16"]


async def test_a_request_does_not_overtake_an_earlier_larger_one_of_its_batch() -> None:
    semaphore = FairSemaphore(20, max_held_per_free=3)
    waiters, held = Waiters(semaphore), await semaphore.acquire(Flow(BIG, "a"), 14)
    await waiters.add("first", Flow(BIG, "a"), 6)
    await waiters.add("second", Flow(BIG, "a"), 1)
    assert waiters.served == []
    assert semaphore.try_acquire(Flow(BIG, "a")) is None
    held.release()
    await settled()
    assert waiters.served == ["first", "second"]


async def test_keys_with_too_much_get_units_again_when_a_heavier_key_leaves() -> None:
    semaphore = FairSemaphore(100, max_held_per_free=3, weights={BIG: 10})
    waiters, heavy = Waiters(semaphore), await semaphore.acquire(Flow(BIG, "a"), 10)
    for number in range(60):
        await waiters.add(f"light {number}", Flow(SMALL, "b"))
    assert len(waiters.served) < 30
    heavy.release()
    await settled()
    assert len(waiters.served) == 60
    for task in waiters.tasks.values():
        task.result().release()
    assert semaphore.idle


# -- cancellation -----------------------------------------------------------------------------------------------------


Scene = Callable[[], FairSemaphore]


@pytest.mark.parametrize(
    "scene",
    [lambda: FairSemaphore(2), lambda: FairSemaphore(6, max_held_per_free=3, weights={BIG: 4})],
    ids=["turns", "limits"],
)
@pytest.mark.parametrize("cancelled", range(12))
async def test_a_waiter_can_be_cancelled_at_every_point(scene: Scene, cancelled: int) -> None:
    for steps in range(40):
        semaphore, done = scene(), set[int]()

        async def use(number: int, semaphore: FairSemaphore = semaphore, done: set[int] = done) -> None:
            one = Flow((BIG, SMALL)[number % 2], f"bat_{number % 3}")
            for amount in (1, 2):
                with await semaphore.acquire(one, amount):
                    await asyncio.sleep(0)
            done.add(number)

        tasks = [asyncio.create_task(use(number)) for number in range(12)]
        for _ in range(steps):
            await asyncio.sleep(0)
        tasks[cancelled].cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert done >= set(range(12)) - {cancelled}
        assert semaphore.idle
        assert semaphore.used == semaphore.waiting() == 0

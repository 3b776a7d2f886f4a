"""A gate that grows and shrinks, and leases that do."""

from contextlib import suppress

import pytest

from imgsvc.services.throttling.fair_semaphore import FairGate
from support.semaphores import Line, settled


async def test_a_gate_that_grows_lets_waiters_in() -> None:
    gate = FairGate(1)
    line, holder = Line(gate), await gate.acquire("a")
    await line.join("b", "b")
    gate.resize(2)
    await settled()
    assert line.served == ["b"]
    holder.release()


async def test_a_gate_that_shrinks_takes_nothing_back_and_waits_for_what_is_out() -> None:
    gate = FairGate(4)
    leases = [await gate.acquire("a") for _ in range(4)]
    gate.resize(1)
    line = Line(gate)
    await line.join("b", "b")
    for lease in leases[:3]:
        lease.release()
        await settled()
        assert line.served == []
    leases[3].release()
    await settled()
    assert line.served == ["b"]


async def test_a_waiter_that_asked_for_more_than_a_gate_that_shrank_has_still_comes_through() -> None:
    gate = FairGate(4)
    line, holder = Line(gate), await gate.acquire("a")
    await line.join("large", "b", 4)
    gate.resize(2)
    assert await line.drain(holder) == ["large"]
    assert gate.idle


async def test_a_lease_grows_into_units_that_are_free_before_those_who_wait() -> None:
    gate = FairGate(4)
    lease, other = await gate.acquire("a", 1), await gate.acquire("b", 2)
    assert lease.grow(2)
    assert lease.grow(1)  # it holds as many already
    assert not lease.grow(3)
    line = Line(gate)
    await line.join("c", "c", 4)
    other.release()
    assert lease.grow(3)
    assert not gate.try_take(2)
    lease.release()
    await settled()
    assert line.served == ["c"]


async def test_a_lease_that_shrinks_serves_the_others_and_one_released_twice_counts_once() -> None:
    gate = FairGate(4)
    lease = await gate.acquire("a", 4)
    line = Line(gate)
    await line.join("b", "b", 3)
    lease.shrink(1)
    await settled()
    assert line.served == ["b"]
    lease.release()
    lease.release()
    assert gate.try_take(1)
    assert not gate.try_take(1)


async def test_a_lease_is_given_back_when_the_block_breaks() -> None:
    gate = FairGate(1)
    with suppress(ZeroDivisionError), await gate.acquire("a"):
        raise ZeroDivisionError
    assert gate.idle


@pytest.mark.parametrize("size", [4, 5, 1_000])
async def test_a_lease_of_all_units_can_always_grow(size: int) -> None:
    gate = FairGate(4)
    assert (await gate.acquire("a", 9)).grow(size)

"""The hosts of a batch: fetches are reserved evenly from those that have due assets and room."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Asset
from imgsvc.services.processing.batch_hosts import PAGE, BatchHosts, Reservations
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_state import HostState
from imgsvc.services.throttling.host_visit import HostReservation
from support.batches import ManualClock, asset_row, batch_row, store
from support.lanes import plan

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
PLAN = plan("bat_1")


class Rooms(HostLimiter):
    """A limiter with `room` for that many fetches from each host (1,000 if it is not listed), given out once."""

    def __init__(self, **room: int) -> None:
        super().__init__(maximum=64)
        self.room = Counter(room)
        self.waits: dict[str, float] = {}
        self.state = HostState.of_unknown(maximum=64, patience=600, weights={})

    def reserve(self, host: str, flow: Flow, at_most: int, *, overdue: bool = False) -> list[HostReservation]:
        assert (flow, overdue) == (PLAN.flow, False)
        name = host.partition(".")[0]
        given = min(at_most, self.room.get(name, 1_000))
        self.room[name] = self.room.get(name, 1_000) - given
        return [HostReservation(flow, self.state, 0) for _ in range(given)]

    def wait(self, host: str, flow: Flow) -> float:
        return self.waits.get(host.partition(".")[0], 1.0)


@pytest.fixture
def sessions(resources: Resources) -> Sessions:
    return resources.sessions


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def hosts_of(sessions: Sessions, clock: ManualClock, limiter: HostLimiter) -> BatchHosts:
    return BatchHosts(PLAN, limiter=limiter, sessions=sessions, clock=clock)


async def fill(sessions: Sessions, *counts: int, due: timedelta = timedelta()) -> None:
    """Store a batch with that many assets of each host: h0.example, h1.example …"""
    await store(sessions, batch_row("bat_1", NOW, asset_count=sum(counts)))
    numbers = [number for number, count in enumerate(counts) for _ in range(count)]
    rows = [
        asset_row(
            "bat_1", position, NOW + due, host_number=number, origin_url=f"http://h{number}.example/{position}.jpg"
        )
        for position, number in enumerate(numbers)
    ]
    await store(sessions, *rows)


def numbers(reserved: Reservations) -> dict[int, int]:
    return {number: len(fetches) for number, fetches in reserved.items()}


async def test_hosts_share_the_slots_evenly_and_those_with_room_get_the_rest(
    sessions: Sessions, clock: ManualClock
) -> None:
    await fill(sessions, 50, 50, 50, 50)
    hosts = hosts_of(sessions, clock, Rooms(h1=2, h2=0))
    assert numbers(await hosts.reserve(40)) == {0: 28, 1: 2, 3: 10}


async def test_hosts_take_turns_when_there_are_more_of_them_than_slots(sessions: Sessions, clock: ManualClock) -> None:
    await fill(sessions, *[9] * 6)
    hosts = hosts_of(sessions, clock, Rooms())
    assert [sorted(numbers(await hosts.reserve(2))) for _ in range(4)] == [[0, 1], [2, 3], [4, 5], [0, 1]]


async def test_a_host_without_due_assets_gets_no_reservation(sessions: Sessions, clock: ManualClock) -> None:
    await fill(sessions, 3, due=timedelta(seconds=7))
    hosts = hosts_of(sessions, clock, Rooms())
    assert numbers(await hosts.reserve(8)) == {}
    assert hosts.next_look() == NOW + timedelta(seconds=7)
    clock.forward(7)
    assert numbers(await hosts.reserve(8)) == {0: 8}


async def test_a_host_whose_assets_are_all_claimed_is_read_again_and_left_out(
    sessions: Sessions, clock: ManualClock
) -> None:
    await fill(sessions, 2, 9)
    hosts = hosts_of(sessions, clock, Rooms())
    assert numbers(await hosts.reserve(8)) == {0: 4, 1: 4}
    async with sessions.write() as session:
        leased = update(Asset).where(col(Asset.host_number) == 0).values(due_at=NOW + timedelta(seconds=60))
        await session.exec(leased)
    hosts.note_claimed(0, reserved=4, claimed=2)
    hosts.note_claimed(1, reserved=4, claimed=4)
    assert numbers(await hosts.reserve(8)) == {1: 8}


async def test_the_next_look_is_when_the_first_host_may_have_room(sessions: Sessions, clock: ManualClock) -> None:
    await fill(sessions, 5, 5)
    limiter = Rooms(h0=0, h1=0)
    limiter.waits = {"h0": 30.0, "h1": 4.0}
    hosts = hosts_of(sessions, clock, limiter)
    assert numbers(await hosts.reserve(8)) == {}
    assert hosts.next_look() == NOW + timedelta(seconds=4)


async def test_without_open_assets_there_is_no_next_look(sessions: Sessions, clock: ManualClock) -> None:
    await store(sessions, batch_row("bat_1", NOW), asset_row("bat_1", 0, NOW, status="failed"))
    hosts = hosts_of(sessions, clock, Rooms())
    assert numbers(await hosts.reserve(8)) == {}
    assert hosts.next_look() is None


async def test_hosts_behind_thousands_without_room_are_found(sessions: Sessions, clock: ManualClock) -> None:
    total = 3 * PAGE + 5
    await fill(sessions, *[1] * total)
    limiter = Rooms(**{f"h{number}": 0 for number in range(total - 2)})
    hosts = hosts_of(sessions, clock, limiter)
    reserved = numbers(await hosts.reserve(8))
    assert (sorted(reserved), sum(reserved.values())) == ([total - 2, total - 1], 8)
    for number, fetches in {total - 2: 0, total - 1: 0, 3: 2}.items():
        limiter.room[f"h{number}"] = fetches
    clock.forward(1)
    assert 3 in numbers(await hosts.reserve(8))

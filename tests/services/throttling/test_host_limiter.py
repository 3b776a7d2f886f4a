"""The room at each host: reserved in turns, bounded in flight and per second, closed during pauses and outages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from imgsvc.errors import AssetError, BlockedAddress, ConnectError, ConnectTimeout, HttpStatusError, ReadTimeout
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_rate import MIN_RATE, PLATEAU, CubicRate
from imgsvc.services.throttling.host_state import SOON
from imgsvc.services.throttling.host_visit import HostGivenUp, HostPaused, HostReservation
from support.virtual_time import run_in_virtual_time, virtual_monotonic

HOST, OTHER = "shop.example:443", "other.example:443"
FLOW = Flow("key", "batch")


@dataclass
class MovedClock:
    """Seconds that a test moves."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def limiter(clock: MovedClock) -> HostLimiter:
    return HostLimiter(maximum=64, clock=clock)


@asynccontextmanager
async def concurrent_fetches(
    limiter: HostLimiter, host: str = HOST, *, of: int = 100, conditional: bool = False
) -> AsyncIterator[int]:
    """Yield how many of `of` fetches got a slot concurrently; then cancel them, which changes no limit."""
    entered = 0

    async def hold() -> None:
        nonlocal entered
        async with limiter.slot(host, FLOW, conditional=conditional):
            entered += 1
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(of)]
    for _ in range(10):
        await asyncio.sleep(0)
    yield entered
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def limit_of(limiter: HostLimiter, host: str = HOST) -> int:
    async with concurrent_fetches(limiter, host) as entered:
        return entered


async def fail(limiter: HostLimiter, error: AssetError, host: str = HOST, *, peers: int = 1) -> None:
    """Let one fetch fail, the last begun of `peers` in flight."""
    async with concurrent_fetches(limiter, host, of=peers - 1) as entered:
        assert entered == peers - 1
        with pytest.raises((type(error), HostPaused, HostGivenUp)):
            async with limiter.slot(host, FLOW):
                raise error


async def succeed(limiter: HostLimiter, host: str = HOST) -> None:
    async with limiter.slot(host, FLOW):
        pass


# -- in flight --------------------------------------------------------------------------------------------------------


async def test_each_host_has_a_limit_of_its_own(limiter: HostLimiter) -> None:
    async with concurrent_fetches(limiter, HOST) as one, concurrent_fetches(limiter, OTHER) as other:
        assert (one, other) == (INITIAL_LIMIT, INITIAL_LIMIT)


async def test_conditional_fetches_count_for_a_quarter(limiter: HostLimiter) -> None:
    async with concurrent_fetches(limiter, conditional=True) as conditional_fetches:
        assert conditional_fetches == 4 * INITIAL_LIMIT


async def test_conditional_fetches_count_as_whole_ones_while_the_host_sends_images(limiter: HostLimiter) -> None:
    await succeed(limiter)
    for changes, at_one_time in ((True, INITIAL_LIMIT), (False, 4 * INITIAL_LIMIT)):
        limiter.note_changes(HOST, changes=changes)
        async with concurrent_fetches(limiter, conditional=True) as entered:
            assert entered == at_one_time


REFUSALS = (
    *(HttpStatusError(status) for status in (408, 425, 429, 500, 502, 503, 504, 508, 509)),
    ConnectError(), ConnectTimeout(), ReadTimeout(),
)  # fmt: skip


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.code)
async def test_every_answer_of_an_overloaded_host_lowers_its_limit(error: AssetError, limiter: HostLimiter) -> None:
    await fail(limiter, error, peers=4)
    assert limiter.hosts[HOST].limit.value < INITIAL_LIMIT
    assert await limit_of(limiter, OTHER) == INITIAL_LIMIT


@pytest.mark.parametrize("error", [HttpStatusError(404), BlockedAddress()], ids=lambda error: error.code)
async def test_other_errors_do_not_change_the_limit(error: AssetError, limiter: HostLimiter) -> None:
    await fail(limiter, error, peers=4)
    assert await limit_of(limiter) == INITIAL_LIMIT


async def test_a_refusal_at_once_lowers_the_limit_below_what_was_refused(limiter: HostLimiter) -> None:
    await fail(limiter, ConnectError(), peers=4)
    assert await limit_of(limiter) == 3


async def test_a_worker_uses_its_share_of_the_limit(limiter: HostLimiter) -> None:
    await succeed(limiter)
    for share, places in ((0.25, 2), (0.01, 1), (0, 0)):
        limiter.hosts[HOST].set_share(share)
        assert await limit_of(limiter) == places
    assert limiter.reserve(HOST, FLOW, 1) == []
    assert limiter.wait(HOST, FLOW) == SOON


# -- whose failure it is ----------------------------------------------------------------------------------------------


async def test_a_failure_while_others_are_answered_is_the_images_own(limiter: HostLimiter) -> None:
    for _ in range(20):
        await succeed(limiter)
    with pytest.raises(HttpStatusError):
        async with limiter.slot(HOST, FLOW):
            raise HttpStatusError(503)


async def test_a_429_is_never_the_images_own(limiter: HostLimiter) -> None:
    for _ in range(20):
        await succeed(limiter)
    with pytest.raises(HostPaused):
        async with limiter.slot(HOST, FLOW):
            raise HttpStatusError(429)


async def test_a_failure_with_more_in_flight_than_ever_answered_is_the_hosts(limiter: HostLimiter) -> None:
    for _ in range(20):
        await succeed(limiter)
    async with concurrent_fetches(limiter, of=3):
        with pytest.raises(HostPaused):
            async with limiter.slot(HOST, FLOW):
                raise HttpStatusError(500)


# -- pauses and outages -----------------------------------------------------------------------------------------------


async def test_a_long_retry_after_pauses_that_host_and_no_other(limiter: HostLimiter, clock: MovedClock) -> None:
    await fail(limiter, HttpStatusError(429, retry_after=600))
    await fail(limiter, HttpStatusError(429, retry_after=600), OTHER)
    clock.now += 300
    limiter.hosts[OTHER].paused_until = 0
    with pytest.raises(HostPaused) as paused:
        await succeed(limiter)
    assert paused.value.seconds == 300
    assert (limiter.reserve(HOST, FLOW, 5), limiter.wait(HOST, FLOW)) == ([], 300)
    assert limiter.reserve(OTHER, FLOW, 5)


async def test_a_shorter_retry_after_does_not_end_a_longer_one(limiter: HostLimiter) -> None:
    async with limiter.slot(HOST, FLOW):
        await fail(limiter, HttpStatusError(429, retry_after=600))
        await asyncio.sleep(0)
    with pytest.raises(HostPaused) as paused:
        await succeed(limiter)
    assert paused.value.seconds == 600


async def test_a_host_that_never_answered_is_probed_and_then_given_up(limiter: HostLimiter, clock: MovedClock) -> None:
    await fail(limiter, ConnectError())
    assert limiter.reserve(HOST, FLOW, 5) == []
    clock.now += limiter.wait(HOST, FLOW)
    [probe] = limiter.reserve(HOST, FLOW, 5)
    assert limiter.reserve(HOST, FLOW, 5) == []
    probe.release()
    for _ in range(80):  # without demand, the patience would start again
        clock.now += 10
        limiter.reserve(HOST, FLOW, 0)
    await fail(limiter, ConnectError())
    rooms = limiter.reserve(HOST, FLOW, 5)
    assert len(rooms) == 5
    with pytest.raises(HostGivenUp) as given_up:
        async with limiter.slot(HOST, FLOW, rooms[0]):
            pass
    assert given_up.value.error.code == "connect_error"


async def test_patience_begins_again_when_a_host_is_asked_after_a_long_time(
    limiter: HostLimiter, clock: MovedClock
) -> None:
    await fail(limiter, ConnectError())
    clock.now += 3_600
    assert len(limiter.reserve(HOST, FLOW, 5)) == 1


async def test_overdue_images_get_through_to_a_paused_host_to_fail_there(limiter: HostLimiter) -> None:
    await fail(limiter, HttpStatusError(429, retry_after=3_600))
    [room] = limiter.reserve(HOST, FLOW, 1, overdue=True)
    with pytest.raises(HostPaused) as paused:
        async with limiter.slot(HOST, FLOW, room):
            pass
    assert paused.value.error is not None
    assert paused.value.error.code == "http_429"


async def test_a_host_that_answers_again_begins_with_a_modest_limit(limiter: HostLimiter, clock: MovedClock) -> None:
    await fail(limiter, ConnectError())
    for _ in range(5):
        clock.now += 20
        await fail(limiter, ConnectError())
    clock.now += 20
    await succeed(limiter)
    assert not limiter.hosts[HOST].availability.is_away
    assert await limit_of(limiter) == 8


# -- reservations -----------------------------------------------------------------------------------------------------


async def test_a_released_reservation_gives_its_room_back_once(limiter: HostLimiter) -> None:
    rooms = limiter.reserve(HOST, FLOW, 1_000)
    assert limiter.reserve(HOST, FLOW, 1) == []
    for room in rooms:
        room.release()
        room.release()
    assert limiter.hosts[HOST].booked == 0
    assert len(limiter.reserve(HOST, FLOW, 1_000)) == len(rooms)


async def test_a_slot_uses_its_reservation(limiter: HostLimiter) -> None:
    [room] = limiter.reserve(HOST, FLOW, 1)
    async with limiter.slot(HOST, FLOW, room):
        assert limiter.hosts[HOST].booked == 4
    assert limiter.hosts[HOST].booked == 0


async def test_a_redirecting_host_has_no_more_room_than_its_target(limiter: HostLimiter) -> None:
    await succeed(limiter, HOST)
    limiter.note_redirect(HOST, OTHER)
    await fail(limiter, HttpStatusError(503, retry_after=60), OTHER)
    assert limiter.reserve(HOST, FLOW, 5) == []
    assert limiter.wait(HOST, FLOW) == 60


def test_room_is_given_out_in_turns_between_keys_and_then_batches() -> None:
    large, small = [Flow("large", str(number)) for number in range(20)], Flow("small", "one")
    given = dict.fromkeys([*large, small], 0)

    async def main() -> None:
        limiter = HostLimiter(maximum=64, clock=virtual_monotonic)
        await succeed(limiter)
        for _ in range(80):
            set_rate(limiter, 2.0, share=1)
            for flow in given:
                for room in limiter.reserve(HOST, flow, 5):
                    async with limiter.slot(HOST, flow, room):
                        given[flow] += 1
            await asyncio.sleep(0.5)

    run_in_virtual_time(main())
    assert given[small] == pytest.approx(sum(given.values()) / 2, rel=0.1)
    assert max(given[flow] for flow in large) - min(given[flow] for flow in large) <= 4


def test_a_host_gives_its_room_to_keys_by_their_weights() -> None:
    flows = [Flow("double", "one"), Flow("single", "one"), Flow("single", "two"), Flow("half", "one")]
    given = dict.fromkeys(flows, 0)

    async def main() -> None:
        limiter = HostLimiter(maximum=4, clock=virtual_monotonic, weights={"double": 2, "half": 0.5})

        async def fetch(flow: Flow, room: HostReservation) -> None:
            async with limiter.slot(HOST, flow, room):
                given[flow] += 1
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            for _ in range(1_000):
                for flow in flows:
                    for room in limiter.reserve(HOST, flow, 8):
                        group.create_task(fetch(flow, room))
                await asyncio.sleep(0.05)

    run_in_virtual_time(main())
    total = sum(given.values())
    assert [given[flow] / total for flow in flows] == pytest.approx([4 / 7, 1 / 7, 1 / 7, 1 / 7], abs=0.02)


async def test_the_hosts_that_have_been_idle_longest_are_forgotten(clock: MovedClock) -> None:
    limiter = HostLimiter(maximum=4, max_hosts=3, clock=clock)
    for host in ("a.example", "b.example", "c.example", "a.example", "d.example"):
        await succeed(limiter, host)
    assert list(limiter.hosts) == ["c.example", "a.example", "d.example"]


async def test_a_host_in_use_is_never_forgotten(clock: MovedClock) -> None:
    limiter = HostLimiter(maximum=1, max_hosts=1, clock=clock)
    async with limiter.slot("busy.example", FLOW):
        await succeed(limiter, "other.example")
        assert "busy.example" in limiter.hosts
    await succeed(limiter, "other.example")
    assert list(limiter.hosts) == ["other.example"]


def set_rate(limiter: HostLimiter, rate: float, *, share: float) -> None:
    """Let the host have refused `rate` fetches per second, which are the limit again now."""
    state = limiter.hosts[HOST]
    state.rate.cubic = CubicRate(rate, virtual_monotonic() - PLATEAU)
    state.set_share(share)


# -- rates ------------------------------------------------------------------------------------------------------------


def test_fetches_keep_to_the_rate_of_a_host_that_has_refused() -> None:
    async def main() -> float:
        limiter = HostLimiter(maximum=64, clock=virtual_monotonic)
        await succeed(limiter)
        set_rate(limiter, 20, share=0.5)
        await asyncio.gather(*(succeed(limiter) for _ in range(10)))
        return virtual_monotonic() - 1_000

    assert run_in_virtual_time(main()) == pytest.approx(1.0, rel=0.02)


def test_a_fetch_that_would_wait_for_more_than_a_second_comes_back_later() -> None:
    async def main() -> list[BaseException | None]:
        limiter = HostLimiter(maximum=64, clock=virtual_monotonic)
        await succeed(limiter)
        set_rate(limiter, MIN_RATE, share=1)
        return await asyncio.gather(*(succeed(limiter) for _ in range(2)), return_exceptions=True)

    ends = run_in_virtual_time(main())
    assert [type(end) for end in ends] == [HostPaused, HostPaused]


async def test_a_rate_does_not_grow_while_the_host_is_idle(limiter: HostLimiter, clock: MovedClock) -> None:
    await fail(limiter, HttpStatusError(429), peers=2)
    clock.now += limiter.hosts[HOST].delay(clock.now) + SOON
    before = limiter.hosts[HOST].rate.at(clock.now)
    clock.now += 3_600
    await succeed(limiter)
    assert limiter.hosts[HOST].rate.at(clock.now) == pytest.approx(before)


async def test_a_flow_comes_back_by_the_turns_of_its_own_key(limiter: HostLimiter) -> None:
    large, small = [Flow("large", str(number)) for number in range(40)], Flow("small", "one")
    async with concurrent_fetches(limiter):
        for flow in [*large, small]:
            while limiter.reserve(HOST, flow, 64):
                pass
        assert limiter.wait(HOST, small) == SOON / 4
        assert limiter.wait(HOST, large[0]) == pytest.approx(SOON / 4 * 2 * 40 / INITIAL_LIMIT)

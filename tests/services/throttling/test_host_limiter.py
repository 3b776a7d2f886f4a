"""The limits of each host: lowered by failures, raised by successes, paused by Retry-After."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import monotonic

import pytest

from imgsvc.errors import AssetError, ConnectError, ConnectTimeout, HttpStatusError, ReadTimeout
from imgsvc.services.throttling.host_limiter import HostLimiter, HostPaused, MonotonicClock
from imgsvc.services.throttling.host_rate import DOWN_AFTER, DOWN_RATE, INITIAL_LIMIT, MIN_WINDOW
from support.semaphores import flow

HOST = "shop.example"


def almost_stopped_clock() -> MonotonicClock:
    """Return a clock that advances by a microsecond per reading, so that no rate grows."""
    moments = count(1_000.0, 1e-6)
    return lambda: next(moments)


@asynccontextmanager
async def concurrent_fetches(
    limiter: HostLimiter, host: str = HOST, *, of: int = 20, conditional: bool = False
) -> AsyncIterator[int]:
    """Yield how many of `of` fetches got a slot concurrently; then cancel them, which changes no limit."""
    entered = 0

    async def hold() -> None:
        nonlocal entered
        async with limiter.slot(host, flow("batch"), conditional=conditional):
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


async def fail(limiter: HostLimiter, error: AssetError, host: str = HOST) -> None:
    with pytest.raises(type(error)):
        async with limiter.slot(host, flow("batch")):
            raise error


async def succeed(limiter: HostLimiter, host: str = HOST) -> None:
    async with limiter.slot(host, flow("batch")):
        pass


async def test_each_host_gets_the_maximum_for_itself() -> None:
    limiter = HostLimiter(maximum=8)
    async with concurrent_fetches(limiter, "one.example") as one, concurrent_fetches(limiter, "other.example") as other:
        assert (one, other) == (8, 8)


async def test_conditional_fetches_count_for_a_quarter() -> None:
    limiter = HostLimiter(maximum=4)
    async with concurrent_fetches(limiter, conditional=True) as conditional_fetches:
        assert conditional_fetches == 16
    async with (
        concurrent_fetches(limiter, of=2) as fetches,
        concurrent_fetches(limiter, conditional=True) as conditional_fetches,
    ):
        assert (fetches, conditional_fetches) == (2, 8)


async def test_an_unknown_host_starts_with_sixteen_and_gets_one_more_for_each_success() -> None:
    limiter = HostLimiter(maximum=64)
    assert await limit_of(limiter) == 16
    for _ in range(3):
        await succeed(limiter)
    assert await limit_of(limiter) == 19


async def test_a_connect_timeout_halves_the_limit_of_that_host_alone() -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, ConnectTimeout())
    assert await limit_of(limiter) == 4
    assert await limit_of(limiter, "other.example") == 8


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_sets_a_rate_for_that_host_alone(status: int) -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, HttpStatusError(status))
    assert await limit_of(limiter) == 1
    assert await limit_of(limiter, "other.example") == 8


async def test_fetches_keep_to_the_rate_of_a_host_that_has_refused() -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, HttpStatusError(429))
    began = monotonic()
    for _ in range(8):
        await succeed(limiter)
    seconds = monotonic() - began
    rate = limiter.hosts[HOST].rate
    assert rate is not None
    assert 7 / rate.at(monotonic()) <= seconds < 8


@pytest.mark.parametrize(
    "error", [HttpStatusError(404), HttpStatusError(500), ReadTimeout(), ConnectError()], ids=lambda e: e.code
)
async def test_other_errors_do_not_change_the_limit(error: AssetError) -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, error)
    assert await limit_of(limiter) == 8


async def test_the_limit_never_falls_below_one() -> None:
    limiter = HostLimiter(maximum=8)
    for _ in range(DOWN_AFTER - 1):
        await fail(limiter, ConnectTimeout())
    assert await limit_of(limiter) == 1


async def test_each_success_raises_the_limit_by_one_up_to_the_maximum() -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, ConnectTimeout())
    await fail(limiter, ConnectTimeout())
    limits = []
    for _ in range(8):
        limits.append(await limit_of(limiter))
        await succeed(limiter)
    assert limits == [2, 3, 4, 5, 6, 7, 8, 8]


async def test_a_host_that_refuses_everything_fails_faster_than_one_that_limits() -> None:
    clock = almost_stopped_clock()
    limiter = HostLimiter(maximum=64, clock=clock)
    rates = []
    for _ in range(DOWN_AFTER + 2):
        await fail(limiter, HttpStatusError(503))
        rates.append(limiter.hosts[HOST].current_rate(clock()))
    assert rates[: DOWN_AFTER - 1] == sorted(rates[: DOWN_AFTER - 1], reverse=True)
    assert rates[DOWN_AFTER - 2] < 5 < DOWN_RATE == rates[-1]
    await succeed(limiter)
    assert limiter.hosts[HOST].current_rate(clock()) < DOWN_RATE


# -- Retry-After ------------------------------------------------------------------------------------------------------


async def test_a_long_retry_after_pauses_that_host_and_no_other() -> None:
    limiter = HostLimiter(maximum=8)
    await fail(limiter, HttpStatusError(429, retry_after=600))
    with pytest.raises(HostPaused) as paused:
        await succeed(limiter)
    assert 500 < paused.value.seconds <= 600
    assert await limit_of(limiter, "other.example") == 8


async def test_a_shorter_retry_after_does_not_end_a_longer_one() -> None:
    limiter = HostLimiter(maximum=8)
    async with limiter.slot(HOST, flow("batch")):
        await fail(limiter, HttpStatusError(429, retry_after=600))
        with pytest.raises(HostPaused) as paused:
            await succeed(limiter)
    assert paused.value.seconds > 500


async def test_a_short_pause_is_waited_for() -> None:
    limiter = HostLimiter(maximum=8)
    started = monotonic()
    await fail(limiter, HttpStatusError(503, retry_after=0.1))
    await succeed(limiter)
    assert monotonic() - started >= 0.1


async def test_a_fetch_that_waits_when_a_pause_begins_is_not_sent() -> None:
    limiter = HostLimiter(maximum=1)
    asked, may_fail = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with limiter.slot(HOST, flow("batch")):
            asked.set()
            await may_fail.wait()
            raise HttpStatusError(503, retry_after=60)

    one = asyncio.create_task(first())
    await asked.wait()
    other = asyncio.create_task(succeed(limiter))
    await asyncio.sleep(0)
    may_fail.set()
    one_end, other_end = await asyncio.gather(one, other, return_exceptions=True)
    assert isinstance(one_end, HttpStatusError)
    assert isinstance(other_end, HostPaused)


# -- memory -----------------------------------------------------------------------------------------------------------


async def test_the_limit_of_a_host_is_remembered_for_the_next_batch() -> None:
    limiter = HostLimiter(maximum=INITIAL_LIMIT + 1)
    await succeed(limiter)
    assert await limit_of(limiter) == INITIAL_LIMIT + 1


async def test_a_rate_does_not_grow_while_the_host_is_idle() -> None:
    now = 1_000.0
    limiter = HostLimiter(maximum=8, clock=lambda: now)
    await fail(limiter, HttpStatusError(429))
    before = limiter.hosts[HOST].current_rate(now)
    now += 3_600
    await succeed(limiter)
    assert limiter.hosts[HOST].current_rate(now) == pytest.approx(before)


async def test_after_a_pause_fetches_start_at_the_rate_and_not_all_at_once() -> None:
    limiter = HostLimiter(maximum=8)
    for _ in range(4):
        await succeed(limiter)
    await fail(limiter, HttpStatusError(429, retry_after=0.2))
    left: list[float] = []

    async def fetch() -> None:
        async with limiter.slot(HOST, flow("batch")):
            left.append(monotonic())

    await asyncio.gather(*[fetch() for _ in range(4)])
    rate = limiter.hosts[HOST].rate
    assert rate is not None
    assert left[-1] - left[0] >= 2 / rate.at(left[-1])


async def test_conditional_fetches_count_as_whole_ones_while_the_host_sends_images() -> None:
    limiter = HostLimiter(maximum=4)
    await succeed(limiter)
    for changes, at_one_time in ((True, 4), (False, 16)):
        limiter.note_changes(HOST, changes=changes)
        async with concurrent_fetches(limiter, conditional=True) as entered:
            assert entered == at_one_time


async def test_a_host_that_is_down_gets_many_fetches_at_a_time_so_they_fail_soon() -> None:
    limiter = HostLimiter(maximum=64)
    for _ in range(DOWN_AFTER - 1):
        await fail(limiter, ConnectTimeout())
    assert await limit_of(limiter) == 1
    await fail(limiter, ConnectTimeout())
    assert await limit_of(limiter) == INITIAL_LIMIT


async def test_a_404_counts_as_a_response() -> None:
    limiter = HostLimiter(maximum=64)
    for _ in range(2 * DOWN_AFTER):
        await fail(limiter, ConnectTimeout())
        await fail(limiter, HttpStatusError(404))
    assert await limit_of(limiter) == 1


async def test_the_hosts_that_have_been_idle_longest_are_forgotten() -> None:
    limiter = HostLimiter(maximum=4, max_hosts=3)
    for host in ("a.example", "b.example", "c.example", "a.example", "d.example"):
        await succeed(limiter, host)
    assert list(limiter.hosts) == ["c.example", "a.example", "d.example"]


async def test_a_host_in_use_is_never_forgotten() -> None:
    limiter = HostLimiter(maximum=1, max_hosts=1)
    async with limiter.slot("busy.example", flow("batch")):
        await succeed(limiter, "other.example")
        assert list(limiter.hosts) == ["busy.example"]
        assert await limit_of(limiter, "busy.example") == 0
    await succeed(limiter, "other.example")
    assert list(limiter.hosts) == ["other.example"]


async def test_batches_are_served_round_robin_at_a_host() -> None:
    limiter = HostLimiter(maximum=1)
    served = []

    async def fetch(batch_id: str) -> None:
        async with limiter.slot(HOST, flow(batch_id)):
            served.append(batch_id)
            await asyncio.sleep(0)

    await asyncio.gather(*[fetch("large") for _ in range(10)], fetch("small"))
    assert served.index("small") <= 2


@pytest.mark.parametrize(
    ("error", "rate"),
    [(HttpStatusError(503), 8 / 2 / MIN_WINDOW), (ConnectTimeout(), None)],
    ids=["it refuses", "it does not respond"],
)
async def test_a_burst_of_failures_slows_a_host_once(error: AssetError, rate: float | None) -> None:
    limiter = HostLimiter(maximum=8, clock=almost_stopped_clock())
    all_in_flight = asyncio.Event()
    waiting = 0

    async def refused() -> None:
        nonlocal waiting
        with pytest.raises(type(error)):
            async with limiter.slot(HOST, flow("batch")):
                waiting += 1
                if waiting == 8:
                    all_in_flight.set()
                await all_in_flight.wait()
                raise error

    await asyncio.gather(*(refused() for _ in range(8)))
    host = limiter.hosts[HOST]
    assert host.limit == 4
    assert (host.rate and host.rate.refused) == rate

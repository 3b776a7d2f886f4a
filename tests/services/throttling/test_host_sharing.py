"""One limit of a host for all workers: what one finds out, all know, and together they keep to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from imgsvc.errors import AssetError, ConnectError, HttpStatusError
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_sharing import INTERVAL, INTERVAL_WITHOUT_BOARD, HostSharing, open_sharing
from imgsvc.services.throttling.host_state import HostState
from imgsvc.services.throttling.host_visit import HostPaused
from imgsvc.services.throttling.shared_host import Entry, Report
from support.memory_board import MemoryBoard
from support.virtual_time import run_in_virtual_time, virtual_monotonic

HOST = "shop.example:443"
FLOW = Flow("key", "batch")


@dataclass
class Crew:
    """Workers that share a board."""

    board: MemoryBoard
    limiters: list[HostLimiter]
    open_slots: list[asyncio.Task[None]] = field(default_factory=list)

    def state(self, worker: int) -> HostState:
        return self.limiters[worker].hosts[HOST]

    async def fetch(self, worker: int, error: AssetError | None = None) -> None:
        try:
            async with self.limiters[worker].slot(HOST, FLOW):
                if error:
                    raise error
        except (AssetError, HostPaused):
            assert error

    async def hold(self, worker: int, fetches: int = 1) -> None:
        """Begin fetches that do not end."""

        async def hold() -> None:
            async with self.limiters[worker].slot(HOST, FLOW):
                await asyncio.Event().wait()

        self.open_slots += [asyncio.create_task(hold()) for _ in range(fetches)]
        await self.exchanges()

    async def exchanges(self, number: int = 4) -> None:
        await asyncio.sleep(number * INTERVAL)


def with_workers(number: int, test: Callable[[Crew], Awaitable[None]]) -> MemoryBoard:
    """Run a test with this number of workers, in virtual time."""
    board = MemoryBoard()

    async def main() -> None:
        sharings = [HostSharing(board, f"worker-{each}", virtual_monotonic) for each in range(number)]
        limiters = [HostLimiter(maximum=64, clock=virtual_monotonic, sharing=sharing) for sharing in sharings]
        crew = Crew(board, limiters)
        tasks = [asyncio.create_task(sharing.run()) for sharing in sharings]
        await test(crew)
        for task in [*tasks, *crew.open_slots]:
            task.cancel()
        await asyncio.gather(*tasks, *crew.open_slots, return_exceptions=True)

    run_in_virtual_time(main())
    return board


# -- what one finds out -----------------------------------------------------------------------------------------------


def test_a_refusal_of_one_worker_lowers_the_limit_and_the_rate_of_all() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0)
        await crew.hold(1)
        await crew.fetch(0, HttpStatusError(429))
        await crew.exchanges()
        first, second = crew.state(0), crew.state(1)
        assert first.limit.value == second.limit.value < INITIAL_LIMIT
        assert first.rate.cubic
        assert second.rate.cubic
        assert second.rate.cubic.refused == first.rate.cubic.refused
        assert second.rate.cubic.since == pytest.approx(first.rate.cubic.since, abs=0.01)

    with_workers(2, test)


def test_a_pause_that_one_worker_is_asked_for_holds_for_all() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0)
        await crew.hold(1)
        await crew.fetch(0, HttpStatusError(503, retry_after=60))
        await crew.exchanges()
        crew.open_slots[1].cancel()
        assert crew.limiters[1].reserve(HOST, FLOW, 1) == []
        assert crew.limiters[1].wait(HOST, FLOW) == pytest.approx(60, abs=1)

    with_workers(2, test)


def test_a_worker_that_joins_begins_with_what_others_have_learnt() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0, 3)
        await crew.fetch(0, ConnectError())
        await crew.exchanges()
        await crew.limiters[1].meet([HOST])
        assert crew.state(1).limit.value == crew.state(0).limit.value == 3

    with_workers(2, test)


def test_a_refusal_that_two_workers_meet_at_once_counts_once() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0, 2)
        await crew.hold(1, 2)
        await asyncio.gather(*(crew.fetch(worker, HttpStatusError(429)) for worker in (0, 1)))
        await crew.exchanges()
        assert crew.state(0).limit.value == crew.state(1).limit.value == INITIAL_LIMIT * 0.75

    with_workers(2, test)


def test_an_outage_that_one_worker_has_found_holds_for_all() -> None:
    async def test(crew: Crew) -> None:
        for _ in range(8):
            await crew.fetch(0, ConnectError())
        await crew.exchanges()
        await crew.limiters[1].meet([HOST])
        assert crew.state(0).availability.is_away
        assert crew.state(1).availability.away_since == pytest.approx(crew.state(0).availability.away_since, abs=0.01)

    with_workers(2, test)


def test_an_answer_to_another_worker_brings_the_next_probe_forward() -> None:
    async def test(crew: Crew) -> None:
        for _ in range(8):
            await crew.fetch(0, ConnectError())
        crew.state(0).availability.probe_at = virtual_monotonic() + 10
        await crew.exchanges()
        await crew.limiters[1].meet([HOST])
        crew.state(1).availability.probe_at = virtual_monotonic()
        for _ in range(2):
            await crew.fetch(1)
            await crew.exchanges()
        await crew.fetch(1)
        await crew.limiters[0].meet([HOST])
        assert crew.state(0).availability.is_away
        assert crew.state(0).availability.probe_at <= virtual_monotonic() + 1

    with_workers(2, test)


# -- the limit together -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 3, 8, 16])
def test_workers_together_have_no_more_in_flight_than_the_limit(number: int) -> None:
    async def test(crew: Crew) -> None:
        for worker in range(number):
            await crew.hold(worker)
        states = [crew.state(worker) for worker in range(number)]
        assert min(number, INITIAL_LIMIT) <= sum(state.allowed for state in states) <= INITIAL_LIMIT
        for state in states:
            assert state.peers == pytest.approx(sum(each.in_flight for each in states), abs=1)

    with_workers(number, test)


def test_the_limit_of_a_host_that_takes_all_grows_with_the_workers() -> None:
    async def test(crew: Crew) -> None:
        for worker in (0, 1):
            await crew.hold(worker)
        assert [crew.state(worker).limit.maximum for worker in (0, 1)] == [128, 128]
        crew.state(0).limit.value = 128
        await crew.exchanges()
        assert [crew.state(worker).allowed for worker in (0, 1)] == [64, 64]
        crew.open_slots[1].cancel()
        await crew.exchanges()
        assert (crew.state(0).limit.value, crew.state(0).allowed) == (64, 64)

    with_workers(2, test)


def test_a_worker_that_has_ended_leaves_its_share_to_the_others() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0, 100)
        await crew.hold(1, 100)
        assert crew.state(0).share == pytest.approx(0.5)
        for task in crew.open_slots[100:]:
            task.cancel()
        await crew.exchanges()
        assert crew.state(0).share == 1

    with_workers(2, test)


def test_a_rate_is_divided_and_does_not_grow_in_the_gaps_of_one_worker() -> None:
    async def test(crew: Crew) -> None:
        for worker in (0, 1):
            await crew.hold(worker, 2)
        await crew.fetch(0, HttpStatusError(429))
        await crew.exchanges()
        now = virtual_monotonic()
        rates = [crew.state(worker).rate for worker in (0, 1)]
        assert rates[0].at(now) + rates[1].at(now) == pytest.approx(rates[0].of_all(now), rel=0.02)

    with_workers(2, test)


# -- the board --------------------------------------------------------------------------------------------------------


def test_a_worker_without_fetches_is_quiet() -> None:
    async def test(crew: Crew) -> None:
        await crew.fetch(0)
        await crew.exchanges()
        before = crew.board.exchanges
        await crew.exchanges(100)
        assert crew.board.exchanges == before
        assert crew.board.hosts[HOST].uses == {}

    with_workers(1, test)


def test_without_the_board_workers_keep_their_shares_and_try_once_a_second() -> None:
    async def test(crew: Crew) -> None:
        for worker in (0, 1):
            await crew.hold(worker, 100)
        shares = [crew.state(worker).share for worker in (0, 1)]
        before, crew.board.is_away = crew.board.exchanges, True
        await asyncio.sleep(10)
        assert [crew.state(worker).share for worker in (0, 1)] == shares
        assert crew.board.exchanges - before <= 2 * (10 / INTERVAL_WITHOUT_BOARD + 1)
        crew.board.is_away = False
        await asyncio.sleep(2 * INTERVAL_WITHOUT_BOARD)
        for task in crew.open_slots[100:]:
            task.cancel()
        await crew.exchanges()
        assert crew.state(0).share == 1

    with_workers(2, test)


def test_without_the_board_even_a_worker_whose_turn_it_is_not_takes_one_at_a_time() -> None:
    async def test(crew: Crew) -> None:
        for worker in range(12):
            await crew.hold(worker, 100)
        waiting = next(worker for worker in range(12) if not crew.state(worker).share)
        crew.board.is_away = True
        await asyncio.sleep(2 * INTERVAL_WITHOUT_BOARD)
        assert crew.state(waiting).allowed == 1

    with_workers(12, test)


def test_hosts_are_known_again_after_the_board_has_lost_everything() -> None:
    async def test(crew: Crew) -> None:
        for worker in (0, 1):
            await crew.hold(worker, 2)
        await crew.fetch(0, HttpStatusError(429))
        await crew.exchanges()
        before = crew.state(0).rate.cubic
        crew.board.hosts.clear()
        await crew.exchanges()
        assert crew.state(1).share == pytest.approx(0.5, abs=0.2)
        now = virtual_monotonic()
        crew.state(0).rate.note_refusal(now, began=now, limit=8)
        await crew.exchanges()
        first, second = (crew.state(worker).rate.cubic for worker in (0, 1))
        assert first
        assert second
        assert second.refused == first.refused
        assert first != before

    with_workers(2, test)


def test_a_second_lane_waits_until_the_first_has_met_the_host() -> None:
    async def test(crew: Crew) -> None:
        await crew.hold(0, 100)
        crew.board.latency = 0.1
        first = asyncio.create_task(crew.limiters[1].meet([HOST]))
        await asyncio.sleep(0)
        await crew.limiters[1].meet([HOST])
        assert crew.state(1).others == 1
        await first

    with_workers(2, test)


def test_a_host_whose_first_lane_is_cancelled_is_shared_all_the_same() -> None:
    async def test(crew: Crew) -> None:
        crew.board.latency = 0.1
        first = asyncio.create_task(crew.limiters[0].meet([HOST]))
        await asyncio.sleep(0)
        first.cancel()
        await crew.hold(0, 3)
        await crew.exchanges()
        assert crew.board.hosts[HOST].uses["worker-0"].in_flight == 3

    with_workers(1, test)


def test_hosts_are_forgotten_while_the_board_is_away() -> None:
    async def test(crew: Crew) -> None:
        crew.board.is_away = True
        for number in range(50):
            async with crew.limiters[0].slot(f"{number}.example", FLOW):
                pass
        await asyncio.sleep(3 * INTERVAL_WITHOUT_BOARD)
        before = crew.board.exchanges
        await asyncio.sleep(10 * INTERVAL_WITHOUT_BOARD)
        assert crew.board.exchanges == before

    with_workers(1, test)


def test_a_clock_that_is_set_back_leaves_no_times_in_the_future() -> None:
    async def test(crew: Crew) -> None:
        for worker in (0, 1):
            await crew.hold(worker)
        await crew.fetch(0, HttpStatusError(429))
        await crew.exchanges()
        crew.board.ahead -= 3_600
        await crew.exchanges()
        await crew.fetch(1, HttpStatusError(429))
        await crew.exchanges()
        for worker in (0, 1):
            assert crew.state(worker).rate.refused_at <= virtual_monotonic()
            assert crew.state(worker).limit.refused_at <= virtual_monotonic()

    with_workers(2, test)


async def test_an_error_of_the_exchange_ends_the_worker_instead_of_the_sharing() -> None:
    class BrokenBoard(MemoryBoard):
        async def exchange(self, worker: str, reports: Mapping[str, Report]) -> tuple[float, dict[str, Entry]]:
            if not any(report.use for report in reports.values()):
                return await super().exchange(worker, reports)  # the first, which a lane waits for
            raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with open_sharing(BrokenBoard()) as sharing:
            limiter = HostLimiter(maximum=8, sharing=sharing)
            async with limiter.slot(HOST, FLOW):
                await asyncio.Event().wait()


async def test_the_sharing_ends_although_its_cancellation_is_lost() -> None:
    """As in Python 3.11, where `wait_for` drops a cancellation that comes together with a result."""
    repeated = asyncio.Event()

    class LosesCancellation(MemoryBoard):
        calls = 0

        async def exchange(self, worker: str, reports: Mapping[str, Report]) -> tuple[float, dict[str, Entry]]:
            self.calls += 1
            if self.calls == 2:  # the first is one that a lane waits for
                repeated.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            return await super().exchange(worker, reports)

    async with asyncio.timeout(20), open_sharing(LosesCancellation()) as sharing:
        limiter = HostLimiter(maximum=8, sharing=sharing)
        async with limiter.slot(HOST, FLOW):
            await repeated.wait()

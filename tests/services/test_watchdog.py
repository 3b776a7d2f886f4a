"""The watchdog counts what a picture costs the processor, and not what happens to the process meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from imgsvc.services.watchdog import MOST_OF_A_TICK, PATIENCE, Watchdog, processor_clock
from lanes_at_hand import until

LIMIT = 10.0


class Bell:
    """Counts how often it was rung."""

    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


@pytest.fixture
def bell() -> Bell:
    return Bell()


def spent(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def test_work_that_takes_more_of_the_processor_than_allowed_is_told_of_once(bell: Bell) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(bell).begin(spent(LIMIT + 0.1))
    for _ in range(3):
        watchdog.tick(0.5)
    assert bell.rung == 1


def test_work_that_waits_for_the_processor_is_left_alone_for_a_multiple_of_the_limit(bell: Bell) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(bell).begin(spent(LIMIT))
    for _ in range(int(LIMIT * PATIENCE)):
        watchdog.tick(1.0)
    assert bell.rung == 0
    watchdog.tick(1.0)
    assert bell.rung == 1


def test_the_minutes_for_which_a_process_was_stopped_do_not_count(bell: Bell) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(bell).begin()
    for _ in range(int(LIMIT * PATIENCE / MOST_OF_A_TICK)):
        watchdog.tick(600.0)
    assert bell.rung == 0
    watchdog.tick(600.0)
    assert bell.rung == 1


def test_time_counts_from_the_beginning_of_the_work_to_its_end(bell: Bell) -> None:
    watchdog = Watchdog(LIMIT)
    waiting, ended = watchdog.watch(bell), watchdog.watch(bell)
    ended.begin(spent(LIMIT + 1))
    ended.end()
    for _ in range(100):
        watchdog.tick(1.0)
    waiting.begin()
    watchdog.tick(1.0)
    assert bell.rung == 0


def test_the_processors_time_for_a_thread_can_be_read_from_another() -> None:
    idle_may_end, busy_may_end = Event(), Event()
    clocks: list[Callable[[], float]] = []

    def sleep() -> None:
        clocks.append(processor_clock())
        idle_may_end.wait()

    def spin() -> None:
        clocks.append(processor_clock())
        while not busy_may_end.is_set():
            pass

    with ThreadPoolExecutor(2) as threads:
        try:
            sleeping = threads.submit(sleep)
            while not clocks:
                assert not sleeping.done()
            spinning = threads.submit(spin)
            while len(clocks) < 2 or clocks[1]() < 0.1:
                assert not spinning.done()
            assert clocks[0]() < 0.05
        finally:
            idle_may_end.set()
            busy_may_end.set()


async def test_it_ticks_by_itself_while_it_runs(bell: Bell) -> None:
    async with Watchdog(0.001) as watchdog:
        watchdog.watch(bell).begin()
        await until(lambda: bell.rung == 1)

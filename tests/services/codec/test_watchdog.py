"""The watchdog counts what an image costs the processor, and not what happens to the process meanwhile."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from imgsvc.services.codec.watchdog import MAX_TICK_SHARE, STALL_TIMEOUT, Watchdog, process_clock, thread_clock
from support.lanes import until

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
    for _ in range(int(LIMIT * STALL_TIMEOUT)):
        watchdog.tick(1.0)
    assert bell.rung == 0
    watchdog.tick(1.0)
    assert bell.rung == 1


def test_work_that_is_given_little_of_a_busy_processor_is_left_alone_until_it_has_had_its_seconds(bell: Bell) -> None:
    """A fiftieth of a core: eight minutes for the ten seconds that it may take."""
    watchdog, passed = Watchdog(LIMIT), 0
    watchdog.watch(bell).begin(lambda: passed / 50)
    while passed <= 50 * LIMIT:
        assert bell.rung == 0
        watchdog.tick(1.0)
        passed += 1
    watchdog.tick(1.0)
    assert bell.rung == 1


def test_work_that_falls_asleep_is_not_waited_for_for_ever(bell: Bell) -> None:
    watchdog, passed = Watchdog(LIMIT), 0
    watchdog.watch(bell).begin(lambda: min(passed, 30) / 10)
    while not bell.rung:
        watchdog.tick(1.0)
        passed += 1
    assert passed == pytest.approx(30 + STALL_TIMEOUT * LIMIT, abs=3)


def test_the_minutes_for_which_a_process_was_stopped_do_not_count(bell: Bell) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(bell).begin()
    for _ in range(int(LIMIT * STALL_TIMEOUT / MAX_TICK_SHARE)):
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
        clocks.append(thread_clock())
        idle_may_end.wait()

    def spin() -> None:
        clocks.append(thread_clock())
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


def test_the_processors_time_for_another_process_can_be_read() -> None:
    spin = "import sys\nprint(flush=True)\nsys.stdin.readline()\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        clock = process_clock(process.pid)
        assert clock() < 0.05  # what came before does not count
        process.stdin.write(b"\n")
        process.stdin.flush()
        while clock() < 0.2:
            assert process.poll() is None
        process.kill()
        process.wait()
        with pytest.raises(OSError, match=r"Invalid argument|No such process"):
            clock()


async def test_it_ticks_by_itself_while_it_runs(bell: Bell) -> None:
    async with Watchdog(0.001) as watchdog:
        watchdog.watch(bell).begin()
        await until(lambda: bell.rung == 1)

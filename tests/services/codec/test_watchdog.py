"""The watchdog counts the CPU seconds of an image, and nothing else that the process does."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from imgsvc.services.codec.watchdog import MAX_TICK, STALL_TIMEOUT, Watchdog, process_clock, thread_clock
from support.lanes import until

LIMIT = 10.0


class CountingCallback:
    """A callback that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


@pytest.fixture
def callback() -> CountingCallback:
    return CountingCallback()


def cpu_seconds(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def test_work_over_its_cpu_limit_is_reported_once(callback: CountingCallback) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(callback).begin(cpu_seconds(LIMIT + 0.1))
    for _ in range(3):
        watchdog.tick(0.5)
    assert callback.calls == 1


def test_work_that_waits_for_the_cpu_gets_a_multiple_of_the_limit(callback: CountingCallback) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(callback).begin(cpu_seconds(LIMIT))
    for _ in range(int(LIMIT * STALL_TIMEOUT)):
        watchdog.tick(1.0)
    assert callback.calls == 0
    watchdog.tick(1.0)
    assert callback.calls == 1


def test_slow_work_on_a_busy_cpu_may_use_all_of_its_cpu_seconds(callback: CountingCallback) -> None:
    """With a fiftieth of a core, the ten seconds that it may take last eight minutes."""
    watchdog, passed = Watchdog(LIMIT), 0
    watchdog.watch(callback).begin(lambda: passed / 50)
    while passed <= 50 * LIMIT:
        assert callback.calls == 0
        watchdog.tick(1.0)
        passed += 1
    watchdog.tick(1.0)
    assert callback.calls == 1


def test_work_that_falls_asleep_is_reported_in_the_end(callback: CountingCallback) -> None:
    watchdog, passed = Watchdog(LIMIT), 0
    watchdog.watch(callback).begin(lambda: min(passed, 30) / 10)
    while not callback.calls:
        watchdog.tick(1.0)
        passed += 1
    assert passed == pytest.approx(30 + STALL_TIMEOUT * LIMIT, abs=3)


def test_time_in_which_the_process_was_stopped_does_not_count(callback: CountingCallback) -> None:
    watchdog = Watchdog(LIMIT)
    watchdog.watch(callback).begin()
    for _ in range(int(LIMIT * STALL_TIMEOUT / MAX_TICK)):
        watchdog.tick(600.0)
    assert callback.calls == 0
    watchdog.tick(600.0)
    assert callback.calls == 1


def test_time_counts_from_the_start_of_the_work_to_its_end(callback: CountingCallback) -> None:
    watchdog = Watchdog(LIMIT)
    waiting, ended = watchdog.watch(callback), watchdog.watch(callback)
    ended.begin(cpu_seconds(LIMIT + 1))
    ended.end()
    for _ in range(100):
        watchdog.tick(1.0)
    waiting.begin()
    watchdog.tick(1.0)
    assert callback.calls == 0


def test_the_cpu_clock_of_a_thread_can_be_read_from_another_thread() -> None:
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


def test_the_cpu_clock_of_another_process_can_be_read() -> None:
    spin = "import sys\nprint(flush=True)\nsys.stdin.readline()\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        clock = process_clock(process.pid)
        assert clock() < 0.05  # time before the clock was made does not count
        process.stdin.write(b"\n")
        process.stdin.flush()
        while clock() < 0.2:
            assert process.poll() is None
        process.kill()
        process.wait()
        with pytest.raises(OSError, match=r"Invalid argument|No such process"):
            clock()


async def test_the_watchdog_ticks_by_itself_while_it_runs(callback: CountingCallback) -> None:
    async with Watchdog(0.001) as watchdog:
        watchdog.watch(callback).begin()
        await until(lambda: callback.calls == 1)
